//! `ceph -h [words]` and `ceph tell X help`: options, and the commands that a service describes, in two columns.

use super::options;
use super::sigs::{Command, flags};

/// A headline.
pub fn headline(text: &str) -> String {
    format!("\n {text} \n {}\n", "=".repeat(text.len()))
}

/// What does not come from the cluster.
pub fn general() -> String {
    format!(
        "{}{}{}{}",
        headline("General usage:"),
        options::help(),
        headline("Local commands:"),
        "
ping <mon.id>           ask a monitor whether it is there; mon.* asks all of them
daemon {type.id|path} <cmd>
                        a command over a daemon's admin socket
mon_status              what the monitor that answers says of itself

"
    )
}

/// Columns and rows of the terminal at stdin, or what stock assumes without one.
pub fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdin()) {
        Ok(size) => (usize::from(size.ws_col), usize::from(size.ws_row)),
        Err(_) => (80, 25),
    }
}

/// Breaks a text into lines of at most `width`, later ones indented by one, not inside of words or brackets.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let sticky = |c: char| c.is_ascii_alphabetic() || "{[<>]}".contains(c);
    let mut rest: Vec<char> = text.chars().collect();
    let mut lines: Vec<String> = Vec::new();
    let mut width = width.max(2);
    while !rest.is_empty() {
        let lead = if lines.is_empty() { "" } else { " " };
        if rest.len() <= width {
            lines.push(format!("{lead}{}", rest.iter().collect::<String>()));
            break;
        }
        let mut at = width;
        while at > 0 && sticky(rest[at - 1]) {
            at -= 1;
        }
        let at = if at == 0 { width } else { at };
        if lines.is_empty() {
            width -= 1;
        }
        let line: String = rest.drain(..at).collect();
        lines.push(format!("{lead}{}", line.trim_start()));
    }
    lines
}

/// The commands whose usage begins with `words`, sorted.
pub fn commands(all: &[Command], words: &str, columns: usize) -> String {
    let mut shown: Vec<(String, &str)> = all
        .iter()
        .filter(|c| !c.help.is_empty() && !c.has(flags::OBSOLETE | flags::DEPRECATED | flags::HIDDEN))
        .map(|c| (c.usage(), c.help.as_str()))
        .filter(|(usage, _)| usage.starts_with(words))
        .collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let width = columns.saturating_sub(1);
    let (left, right) = (width / 2, width / 2 + width % 2);
    let mut out = String::new();
    for (usage, help) in shown {
        let (usage, help) = (wrap(&usage, left), wrap(help, right));
        for i in 0..usage.len().max(help.len()) {
            let cell = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
            out.push_str(&format!("{:left$} {}\n", cell(&usage), cell(&help)));
        }
    }
    out
}
