//! (being written)

/// Not there yet.
pub fn main(_args: Vec<String>) -> anyhow::Result<()> {
    anyhow::bail!("the monitor is not there yet")
}
