//! The OSD alone, without the rest of the binary: for work on it against a stock monitor.

fn main() -> anyhow::Result<()> {
    osd::main(std::env::args().skip(1).collect())
}
