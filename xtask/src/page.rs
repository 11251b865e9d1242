//! Pages that tasks write figures into, between two marks; what stands around them is written by hand and stays.

use std::fs;
use std::process::Command;

/// What a program prints, trimmed; nothing when it cannot run.
pub fn said_by(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// This machine in one line.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches(['\t', ':', ' ']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or(0);
    format!("{cores} cores ({model}), {} GiB, Linux {}", kib >> 20, said_by("uname", &["-r"]))
}

/// Puts `text` between the marks of `task` in the page; a page without them gets them at its end.
pub fn into_page(page: &str, task: &str, text: &str) -> String {
    let begin = format!("<!-- {task}:begin (written by `cargo xtask {task}`) -->");
    let end = format!("<!-- {task}:end -->");
    let block = format!("{begin}\n{text}{end}");
    match (page.find(&begin), page.find(&end)) {
        (Some(a), Some(b)) if a < b => format!("{}{block}{}", &page[..a], &page[b + end.len()..]),
        _ => format!("{}\n\n{block}\n", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_what_stands_around_the_marks() {
        let first = into_page("# P\n\nby hand\n", "bench", "one\n");
        let second = into_page(&format!("{first}\nmore by hand\n"), "bench", "two\n");
        assert!(second.starts_with("# P\n\nby hand\n") && second.ends_with("more by hand\n"));
        assert!(second.contains("two\n") && !second.contains("one\n"));
    }
}
