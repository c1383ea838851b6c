//! Where a database is, and a connection to it.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

use crate::DatabaseError;
use crate::tls::Tls;

/// Where a database is, and as whom to write.
#[derive(Clone)]
pub struct Target {
    /// Host name, address, or the folder of a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// User.
    pub user: String,
    /// The user's password, if the server asks for one.
    pub password: Option<String>,
    /// PEM text of the authority that signed the server's certificate; without one there is no TLS.
    pub authority: Option<Vec<u8>>,
    /// Schema of the tables.
    pub schema: String,
    /// What the server shows its operator as the name of the program.
    pub program: String,
    /// No answer is waited for longer.
    pub patience: Duration,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// A connection; it ends with this value.
pub(crate) struct Line {
    pub(crate) client: Client,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    pub(crate) async fn connect(&self) -> Result<Line, DatabaseError> {
        const WHAT: &str = "to connect";
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .application_name(&self.program)
            .connect_timeout(self.patience)
            .tcp_user_timeout(self.patience)
            .keepalives_idle(self.patience);
        if let Some(password) = &self.password {
            config.password(password);
        }
        let (client, task) = if let Some(authority) = &self.authority {
            let tls = Tls::trusting(authority)?;
            config.ssl_mode(SslMode::Require);
            let (client, connection) = self.within(WHAT, config.connect(tls)).await?;
            (client, tokio::spawn(drive(connection)))
        } else {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = self.within(WHAT, config.connect(NoTls)).await?;
            (client, tokio::spawn(drive(connection)))
        };
        Ok(Line { client, task })
    }

    /// Waits for an answer, not longer than patience.
    pub(crate) async fn within<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        match timeout(self.patience, answer).await {
            Ok(result) => result.map_err(|error| DatabaseError::of(what, &error)),
            Err(_) => Err(DatabaseError::Silent { what, patience: self.patience }),
        }
    }
}

async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    // Whoever waits for an answer is told the same.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the connection to the database ended");
    }
}
