//! `ceph.conf`: sections of `key = value` (`src/common/ConfUtils.cc` of stock).
//!
//! Rules: `#` and `;` begin a comment anywhere outside of quotes unless escaped; a backslash at a line's end joins lines; keys are
//! equal with spaces, underscores or dashes; of equal keys in a section the last wins; sections of the same name are one.

use std::collections::BTreeMap;
use thiserror::Error;

/// A line that is neither a section nor an assignment.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("conf line {line}: {what}")]
pub struct ConfError {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A parsed file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfFile {
    /// Section name to normalized key to value.
    pub sections: BTreeMap<String, BTreeMap<String, String>>,
}

/// `mon host`, `mon-host` and `mon_host` are one key.
pub fn normalize_key(key: &str) -> String {
    key.split(|c: char| c.is_whitespace() || c == '_' || c == '-')
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}

impl ConfFile {
    /// From text.
    pub fn parse(text: &str) -> Result<ConfFile, ConfError> {
        let mut conf = ConfFile::default();
        let mut section = "global".to_owned();
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        while let Some((i, first)) = lines.next() {
            let err = |what| ConfError { line: i + 1, what };
            let mut line = first.to_owned();
            while line.ends_with('\\') && !line.ends_with("\\\\") {
                line.pop();
                match lines.next() {
                    Some((_, more)) => line.push_str(more.trim_start()),
                    None => break,
                }
            }
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let (name, behind) = rest.split_once(']').ok_or(err("section without ']'"))?;
                if !(behind.trim().is_empty() || behind.trim().starts_with(['#', ';'])) {
                    return Err(err("text behind the section"));
                }
                section = name.split_whitespace().collect::<Vec<_>>().join(" ");
                conf.sections.entry(section.clone()).or_default();
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(err("neither section nor assignment"))?;
            let key = normalize_key(key);
            if key.is_empty() {
                return Err(err("assignment without a key"));
            }
            let value = value_of(value.trim()).ok_or(err("unbalanced quotes"))?;
            conf.sections.entry(section.clone()).or_default().insert(key, value);
        }
        Ok(conf)
    }

    /// A key as the daemon `type.id` sees it: its own section, then its type's, then `[global]`.
    pub fn get(&self, kind: &str, id: &str, key: &str) -> Option<&str> {
        let key = normalize_key(key);
        [&format!("{kind}.{id}"), kind, "global"]
            .into_iter()
            .find_map(|s| self.sections.get(s)?.get(&key))
            .map(String::as_str)
    }
}

/// Takes off quotes, escapes and a trailing comment.
fn value_of(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut quote = None;
    let mut kept = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => {
                out.push(chars.next().unwrap_or('\\'));
                kept = out.len();
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if c == q => {
                quote = None;
                kept = out.len();
            }
            (None, '#' | ';') => break,
            (_, c) => out.push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    // Spaces at the end go, those inside quotes stay.
    let end = out.trim_end().len().max(kept);
    out.truncate(end);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_comments_quotes_continuations_and_overrides_follow_stock() {
        let c = ConfFile::parse(
            "# top\nfsid = 1 ; c\n[global]\nmon host = a,\\\n  b\nmon_host_x = \"q # not a comment \" # c\n\
             log-file = x\nlog file = y\n[ osd ]\nescaped = a\\;b\n[osd.1]\nlog file = z\n[osd]\nmore=1\n",
        )
        .unwrap();
        assert_eq!(c.get("client", "a", "fsid"), Some("1"));
        assert_eq!(c.get("client", "a", "mon host"), Some("a,b"));
        assert_eq!(c.get("client", "a", "mon host x"), Some("q # not a comment "));
        assert_eq!(c.get("client", "a", "log_file"), Some("y"));
        assert_eq!(c.get("osd", "1", "log-file"), Some("z"));
        assert_eq!(c.get("osd", "2", "log-file"), Some("y"));
        assert_eq!(c.get("osd", "2", "escaped"), Some("a;b"));
        assert_eq!(c.get("osd", "2", "more"), Some("1"));
        assert_eq!(c.get("osd", "2", "nothing"), None);
    }

    #[test]
    fn nonsense_names_its_line() {
        for (text, line) in [("\nxyz", 2), ("[a\n", 1), ("a=\"b", 1), ("=b", 1), ("[a] b", 1)] {
            assert_eq!(ConfFile::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[\\[\\]=#;\"'\\\\a-c \n]{0,80}") {
            let _ = ConfFile::parse(&text);
        }
    }
}
