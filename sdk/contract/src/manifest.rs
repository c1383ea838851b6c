//! The declaration of a plugin.
/// x
#[derive(Debug)]
pub struct Manifest {}
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ManifestError;
impl Manifest {
    /// x
    pub fn parse(_: &[u8]) -> Result<Self, ManifestError> {
        Ok(Self {})
    }
}
