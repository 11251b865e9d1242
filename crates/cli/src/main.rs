//! The one binary, `loligo`.

fn main() -> anyhow::Result<()> {
    anyhow::bail!("nothing here yet");
}
