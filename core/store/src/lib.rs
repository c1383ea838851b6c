//! What survives a restart: journal segments and the role file.
