//! A Rust file in which code, comments and literals are told apart, line by line.
//!
//! Rules look for words, and must not find them where they mean nothing: a comment may say
//! `unsafe`, a message may say `todo!`. This knows just enough of the language's tokens for that.

/// A Rust file.
pub(crate) struct Source {
    /// Relative to the repository.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
}

/// One of its lines.
#[derive(Default)]
pub(crate) struct Line {
    /// Without comments; of literals only the quotes are left.
    pub(crate) code: String,
    /// The comments in the line, their slashes included.
    pub(crate) comment: String,
    /// Whether part of a string stands here: the formatter leaves such a line as long as it is.
    pub(crate) has_string: bool,
    /// In characters, as written.
    pub(crate) width: usize,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut scanner = Scanner { state: State::Code, before: ' ', line: Line::default() };
        let mut lines: Vec<Line> = text.lines().map(|line| scanner.line(line)).collect();
        // A comment line belongs to no statement, so blank code is left blank.
        for line in &mut lines {
            line.code.truncate(line.code.trim_end().len());
        }
        Source { path: path.to_owned(), lines }
    }

    /// Whether the whole file is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.split('/').any(|part| part == "tests")
    }

    /// Lines before the tests, which stand last.
    pub(crate) fn product_lines(&self) -> &[Line] {
        let tests = self.lines.windows(2).position(|pair| {
            pair[0].code.starts_with("#[cfg(test)]") && pair[1].code.starts_with("mod tests {")
        });
        &self.lines[..tests.unwrap_or(self.lines.len())]
    }

    /// What stands in the parentheses opened at `column` of line `index`, over as many lines as it
    /// takes.
    pub(crate) fn parenthesised(&self, index: usize, column: usize) -> String {
        let mut depth = 0;
        let mut inside = String::new();
        let first = self.lines[index].code[column..].chars();
        let later = self.lines[index + 1..].iter().flat_map(|line| line.code.chars());
        for letter in first.chain(later) {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            inside.push(letter);
        }
        inside
    }
}

/// Columns at which `word` stands in `code` and is not part of a longer name.
pub(crate) fn find_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(column, _)| column).filter(move |&column| {
        let before = code[..column].chars().next_back();
        let after = code[column + word.len()..].chars().next();
        let closed = |next: Option<char>| !next.is_some_and(is_name);
        closed(before) && (!word.ends_with(is_name) || closed(after))
    })
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[derive(Clone, Copy)]
enum State {
    Code,
    BlockComment { depth: usize },
    Text { raw_hashes: Option<usize> },
}

struct Scanner {
    state: State,
    /// The letter before the next one.
    before: char,
    line: Line,
}

impl Scanner {
    fn line(&mut self, text: &str) -> Line {
        self.line = Line { width: text.chars().count(), ..Line::default() };
        self.before = ' ';
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let taken = match self.state {
                State::Code => self.code(rest),
                State::BlockComment { depth } => self.block_comment(rest, depth),
                State::Text { raw_hashes } => self.text(rest, raw_hashes),
            };
            self.before = letter;
            rest = &rest[taken..];
        }
        std::mem::take(&mut self.line)
    }

    /// Takes a token, or a letter of one, and returns its length in bytes.
    fn code(&mut self, rest: &str) -> usize {
        if rest.starts_with("//") {
            self.line.comment.push_str(rest);
            return rest.len();
        }
        if rest.starts_with("/*") {
            self.state = State::BlockComment { depth: 1 };
            self.line.comment.push_str("/*");
            return 2;
        }
        if let Some(opening) = self.string_opening(rest) {
            let raw_hashes =
                rest[..opening].contains('r').then(|| rest[..opening].matches('#').count());
            self.state = State::Text { raw_hashes };
            self.line.has_string = true;
            self.line.code.push('"');
            return opening;
        }
        if let Some(len) = char_literal(rest) {
            self.line.code.push_str("' '");
            return len;
        }
        let letter = rest.chars().next().unwrap_or_default();
        self.line.code.push(letter);
        letter.len_utf8()
    }

    /// The length of `"`, `r#"`, `b"` and their like, if `rest` begins with one.
    fn string_opening(&self, rest: &str) -> Option<usize> {
        if is_name(self.before) {
            return None;
        }
        let prefix = rest.trim_start_matches(['b', 'c']);
        let raw = prefix.strip_prefix('r').map_or(prefix, |raw| raw.trim_start_matches('#'));
        let prefix_len = rest.len() - raw.len();
        (prefix_len <= 12 && raw.starts_with('"')).then_some(prefix_len + 1)
    }

    fn block_comment(&mut self, rest: &str, depth: usize) -> usize {
        let (depth, taken) = match rest.get(..2) {
            Some("*/") => (depth - 1, 2),
            Some("/*") => (depth + 1, 2),
            _ => (depth, rest.chars().next().map_or(1, char::len_utf8)),
        };
        self.line.comment.push_str(&rest[..taken]);
        self.state = if depth == 0 { State::Code } else { State::BlockComment { depth } };
        taken
    }

    fn text(&mut self, rest: &str, raw_hashes: Option<usize>) -> usize {
        self.line.has_string = true;
        let closing = format!("\"{}", "#".repeat(raw_hashes.unwrap_or(0)));
        if rest.starts_with(&closing) {
            self.line.code.push('"');
            self.state = State::Code;
            return closing.len();
        }
        let escaped = raw_hashes.is_none() && rest.starts_with('\\');
        rest.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum()
    }
}

/// The length of a character literal, if `rest` begins with one and not with a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let mut letters = inside.char_indices();
    let (_, first) = letters.next()?;
    if first == '\\' {
        letters.next()?;
        return letters.find(|(_, letter)| *letter == '\'').map(|(at, _)| at + 2);
    }
    letters.next().filter(|(_, letter)| *letter == '\'').map(|(at, _)| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_no_code() {
        let source = Source::parse(
            "a.rs",
            "let a = \"todo!() \\\" // no\"; // unsafe\n\
             let b = r#\"dbg!(\" \"#; let c = '\"'; x::<'a>('\\'') /* todo! */ + b\"x\"\n\
             /* unsafe /* { */\n still */ let d = 1;\n\
             let e = \"goes\n on unsafe\n to here\"; f()",
        );
        let codes: Vec<&str> = source.lines.iter().map(|line| line.code.as_str()).collect();
        assert_eq!(
            codes,
            [
                "let a = \"\";",
                "let b = \"\"; let c = ' '; x::<'a>(' ')  + \"\"",
                "",
                " let d = 1;",
                "let e = \"",
                "",
                "\"; f()",
            ]
        );
        assert_eq!(source.lines[0].comment, "// unsafe");
        assert!(source.lines[5].has_string);
        assert!(!source.lines[3].has_string);
    }

    #[test]
    fn a_word_is_not_part_of_another() {
        assert_eq!(find_word("draft::x raft::y", "raft::").collect::<Vec<_>>(), [9]);
        assert_eq!(find_word("unsafe_code unsafe", "unsafe").collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn parentheses_are_followed_over_lines() {
        let source = Source::parse("a.rs", "#[allow(\n  x(y),\n  z\n)] w");
        assert_eq!(source.parenthesised(0, 7), "(  x(y),  z");
    }
}
