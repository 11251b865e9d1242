//! A command as it arrives: JSON parsed once, arguments read leniently (numbers may come as text and the other way round).

use serde_json::{Map, Value};

/// Which of stock's renderings is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tables and sentences.
    Plain,
    /// One line of JSON.
    Json,
    /// Indented JSON.
    JsonPretty,
}

/// A parsed command.
#[derive(Clone, Debug)]
pub struct Args {
    /// Its `prefix`.
    pub prefix: String,
    /// All members.
    pub map: Map<String, Value>,
}

/// Longest command text that is parsed.
const COMMAND_BYTES_MAX: usize = 4 << 20;

impl Args {
    /// Parses the command strings of a message (stock concatenates them).
    pub fn parse(cmd: &[String]) -> Result<Args, String> {
        let text = cmd.concat();
        if text.is_empty() {
            return Err("no command".into());
        }
        if text.len() > COMMAND_BYTES_MAX {
            return Err("command is too long".into());
        }
        let Ok(Value::Object(map)) = serde_json::from_str(&text) else {
            return Err("command not understood".into());
        };
        let Some(prefix) = map.get("prefix").and_then(Value::as_str) else {
            return Err("command prefix not found".into());
        };
        Ok(Args { prefix: prefix.to_owned(), map })
    }
    /// `format`, plain without.
    pub fn format(&self) -> Format {
        match self.map.get("format").and_then(Value::as_str) {
            Some("json") => Format::Json,
            Some("json-pretty") => Format::JsonPretty,
            _ => Format::Plain,
        }
    }
    /// Text of an argument.
    pub fn str(&self, name: &str) -> Option<String> {
        match self.map.get(name)? {
            Value::String(s) => Some(s.clone()),
            Value::Number(n) => Some(n.to_string()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Array(a) => Some(a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
            _ => None,
        }
    }
    /// Text, empty when absent.
    pub fn text(&self, name: &str) -> String {
        self.str(name).unwrap_or_default()
    }
    /// An integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.map.get(name)? {
            Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        }
    }
    /// A float.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.map.get(name)? {
            Value::Number(n) => n.as_f64(),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        }
    }
    /// A switch: true, or a choice word such as `--yes-i-really-mean-it`.
    pub fn flag(&self, name: &str) -> bool {
        match self.map.get(name) {
            Some(Value::Bool(b)) => *b,
            Some(Value::String(s)) => !matches!(s.as_str(), "false" | "0" | "no" | ""),
            Some(Value::Number(n)) => n.as_i64() != Some(0),
            _ => false,
        }
    }
    /// True when the argument is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }
    /// A list of texts; a single value counts as one.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.map.get(name) {
            Some(Value::Array(a)) => a
                .iter()
                .map(|v| match v {
                    Value::String(s) => s.clone(),
                    other => other.to_string(),
                })
                .collect(),
            Some(Value::String(s)) => vec![s.clone()],
            Some(Value::Number(n)) => vec![n.to_string()],
            _ => Vec::new(),
        }
    }
    /// Pairs of texts for `command with` caps (`key=value` in stock's grammar).
    pub fn caps_pairs(&self) -> Vec<(String, String)> {
        self.map.iter().map(|(k, _)| (k.clone(), self.text(k))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_text() {
        let a = Args::parse(&["{\"prefix\":\"x\",\"n\":\"3\",\"f\":1,\"l\":[1,\"2\"]}".to_owned()]).unwrap();
        assert_eq!(a.int("n"), Some(3));
        assert_eq!(a.float("f"), Some(1.0));
        assert_eq!(a.list("l"), ["1", "2"]);
        assert_eq!(a.str("none"), None);
    }
}
