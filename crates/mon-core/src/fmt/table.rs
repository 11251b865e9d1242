//! `TextTable`: columns two spaces apart, headings centred never, each column left or right aligned on its own.

/// Where a column's text (or heading) goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At the left.
    Left,
    /// At the right.
    Right,
    /// In the middle.
    Center,
}

struct Column {
    heading: String,
    heading_align: Align,
    align: Align,
    width: usize,
}

/// Rows of text under headings, as stock's `TextTable` prints them: every cell is padded (the last one too), two spaces between.
pub struct TextTable {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    show_headings: bool,
}

impl Default for TextTable {
    fn default() -> Self {
        TextTable { columns: Vec::new(), rows: Vec::new(), show_headings: true }
    }
}

impl TextTable {
    /// A table without columns.
    pub fn new() -> TextTable {
        TextTable::default()
    }
    /// Adds a column.
    pub fn column(mut self, heading: &str, heading_align: Align, align: Align) -> TextTable {
        self.define(heading, heading_align, align);
        self
    }
    /// Adds a column in place.
    pub fn define(&mut self, heading: &str, heading_align: Align, align: Align) {
        self.columns.push(Column {
            heading: heading.to_owned(),
            heading_align,
            align,
            width: heading.chars().count(),
        });
    }
    /// Adds a row; missing cells are blank.
    pub fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        let cells: Vec<String> = cells.into_iter().collect();
        for (c, cell) in self.columns.iter_mut().zip(&cells) {
            c.width = c.width.max(cell.chars().count());
        }
        self.rows.push(cells);
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn pad(s: &str, width: usize, align: Align) -> String {
    let have = s.chars().count();
    let gap = width.saturating_sub(have);
    let left = match align {
        Align::Left => 0,
        Align::Right => gap,
        Align::Center => gap / 2,
    };
    format!("{}{s}{}", " ".repeat(left), " ".repeat(gap - left))
}

impl std::fmt::Display for TextTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.show_headings {
            let line: Vec<String> =
                self.columns.iter().map(|c| pad(&c.heading, c.width, c.heading_align)).collect();
            writeln!(f, "{}", line.join("  "))?;
        }
        for r in &self.rows {
            let line: Vec<String> = self
                .columns
                .iter()
                .enumerate()
                .map(|(i, c)| pad(r.get(i).map_or("", |s| s), c.width, c.align))
                .collect();
            writeln!(f, "{}", line.join("  "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_every_cell() {
        let mut t =
            TextTable::new().column("ID", Align::Left, Align::Right).column("NAME", Align::Left, Align::Left);
        t.row(["-1".to_owned(), "root".to_owned()]);
        t.row(["10".to_owned(), "x".to_owned()]);
        assert_eq!(t.to_string(), "ID  NAME\n-1  root\n10  x   \n");
    }
}
