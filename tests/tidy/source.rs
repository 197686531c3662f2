//! A Rust file as the rules of `tidy` see it: its tokens in a row, and the paths that it names.
//!
//! Works on tokens, so comments and strings are never mistaken for code, and the insides of macros
//! are seen. Knows no rule. Invariant: each token carries its line, the module that it stands in
//! and whether only tests compile it.

use std::{path::Path, rc::Rc};

use proc_macro2::{Delimiter, LineColumn, Spacing, TokenStream, TokenTree};

/// A file under `src/` or `tests/`.
pub(crate) struct Source {
    /// Its name from the repository's root, as in `src/store/writer.rs`.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
}

/// One token; a group gives its delimiters as tokens of their own.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// For an opening delimiter, the line of the closing one.
    pub(crate) closes: Option<usize>,
    /// Whether the next token follows without a space, as in `::`.
    joint: bool,
    /// Where the token stands: `["limiter", "pace"]`, inline modules included.
    module: Rc<[String]>,
    /// Whether it stands under `#[cfg(test)]` or `#[test]`, or in a file of tests: outside `src/`, or
    /// with a name that ends in `tests`.
    pub(crate) in_test: bool,
}

/// A path as it stands in the code, resolved where it begins with `crate`, `self` or `super`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Without the leading `crate`.
    pub(crate) segments: Vec<String>,
    /// Whether it leads into this crate.
    pub(crate) ours: bool,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
}

impl Source {
    /// # Panics
    /// If the file is no Rust.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let stream: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{name}: no Rust: {error}"));
        let module = module_of(name);
        let only_tests =
            !name.starts_with("src/") || module.iter().any(|part| part.ends_with("tests"));
        let mut tokens = Vec::new();
        flatten(stream, &module.into(), only_tests, &mut tokens);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            tokens,
        }
    }

    /// The module of the first rank that the file belongs to: `limiter` for `src/limiter/pace.rs`.
    pub(crate) fn house(&self) -> &str {
        let inner = self.name.strip_prefix("src/").unwrap_or(&self.name);
        let first = inner.split('/').next().unwrap_or(inner);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether `pattern`, tokens divided by spaces, begins at token `at`.
    pub(crate) fn matches(&self, at: usize, pattern: &str) -> bool {
        let mut tokens = self.tokens.iter().skip(at);
        pattern
            .split(' ')
            .all(|part| tokens.next().is_some_and(|token| token.text == part))
    }

    /// Every path of the file: what `use` brings in, and what begins a path in place.
    pub(crate) fn paths(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let in_use = self.tokens[at].text == "use";
            if in_use {
                at += 1;
            }
            at = if in_use || self.begins_path(at) {
                self.tree(at, &[], &mut found).max(at + 1)
            } else {
                at + 1
            };
        }
        found
    }

    fn begins_path(&self, at: usize) -> bool {
        let continues = |before: &Token| before.text == ">" || is_name(&before.text);
        let follows_path = at > 2 && self.double_colon(at - 2) && continues(&self.tokens[at - 3]);
        is_name(&self.tokens[at].text) && !follows_path && self.double_colon(at + 1)
    }

    fn double_colon(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|first| first.joint) && self.matches(at, ": :")
    }

    /// Reads a path or a tree of them from token `at`; answers where it ends.
    fn tree(&self, mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
        let mut segments = before.to_vec();
        while let Some(token) = self.tokens.get(at) {
            if self.double_colon(at) {
                at += 2; // `use ::serde`, and between segments
            } else if token.text == "{" {
                at += 1;
                while self.tokens.get(at).is_some_and(|inner| inner.text != "}") {
                    at = self.tree(at, &segments, found);
                    at += usize::from(self.matches(at, ","));
                }
                return at + 1;
            } else if is_name(&token.text) || token.text == "*" {
                segments.push(token.text.clone());
                at += 1;
                if !self.double_colon(at) {
                    self.resolve(&segments, at - 1, found);
                    return if self.matches(at, "as") { at + 2 } else { at };
                }
            } else {
                // A turbofish ends what a path says about modules.
                self.resolve(&segments, at - 1, found);
                return at;
            }
        }
        at
    }

    fn resolve(&self, segments: &[String], at: usize, found: &mut Vec<Named>) {
        if segments.is_empty() {
            return; // `use<'a>` of a bound
        }
        let Token {
            line,
            module,
            in_test,
            ..
        } = &self.tokens[at];
        let mut base = module.to_vec();
        let mut rest = segments;
        let mut ours = false;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" | "iterd" if !ours => base.clear(),
                "super" => drop(base.pop()),
                "self" => {}
                _ => break,
            }
            ours = true;
            rest = after;
        }
        let mut segments = if ours { base } else { Vec::new() };
        segments.extend_from_slice(rest);
        found.push(Named {
            segments,
            ours,
            line: *line,
            in_test: *in_test,
        });
    }
}

/// `src/limiter/pace.rs` is `["limiter", "pace"]`, `src/lib.rs` is `[]`.
fn module_of(name: &str) -> Vec<String> {
    let path = Path::new(name.strip_prefix("src/").unwrap_or(name)).with_extension("");
    let mut parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib" || last == "main")
    {
        parts.pop();
    }
    parts
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn flatten(stream: TokenStream, module: &Rc<[String]>, in_test: bool, tokens: &mut Vec<Token>) {
    // Whether the item that comes next is compiled for tests only.
    let mut next_is_test = false;
    let mut before = [String::new(), String::new()];
    for tree in stream {
        let in_test = in_test || next_is_test;
        let mut push = |text: &str, at: LineColumn, joint: bool, closes: Option<usize>| {
            let (line, module) = (at.line, module.clone());
            tokens.push(Token {
                text: text.to_owned(),
                line,
                closes,
                joint,
                module,
                in_test,
            });
        };
        let text = match &tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                let (from, to) = (group.span_open().start(), group.span_close().start());
                push(open, from, false, Some(to.line));
                let inner = match &before {
                    [word, name] if word == "mod" && open == "{" => {
                        module.iter().chain([name]).cloned().collect()
                    }
                    _ => module.clone(),
                };
                next_is_test |= open == "[" && before[1] == "#" && marks_test(&group.stream());
                next_is_test &= open != "{";
                flatten(group.stream(), &inner, in_test, tokens);
                let (line, module) = (to.line, module.clone());
                let text = close.to_owned();
                tokens.push(Token {
                    text,
                    line,
                    closes: None,
                    joint: false,
                    module,
                    in_test,
                });
                close.to_owned()
            }
            TokenTree::Punct(sign) => {
                let text = sign.as_char().to_string();
                push(
                    &text,
                    sign.span().start(),
                    sign.spacing() == Spacing::Joint,
                    None,
                );
                next_is_test &= text != ";";
                text
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                let text = tree.to_string();
                push(&text, tree.span().start(), false, None);
                text
            }
        };
        before = [std::mem::take(&mut before[1]), text];
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// Whether an attribute is `test`, `cfg(test)` or `cfg(all(test, ..))`, of whatever runtime.
fn marks_test(attribute: &TokenStream) -> bool {
    let text: String = attribute.to_string().split_whitespace().collect();
    text == "test"
        || text.starts_with("tokio::test")
        || text.starts_with("cfg(test")
        || text.starts_with("cfg(all(test")
}

#[test]
fn paths_are_found_wherever_code_can_name_them() {
    for (code, expected) in [
        (
            "use crate::{store::Writer, ids};",
            vec!["*store::Writer", "*ids"],
        ),
        (
            "use std::{fs, io::{self, Read as _}};",
            vec!["std::fs", "std::io::self", "std::io::Read"],
        ),
        (
            "fn f() { super::super::runtime::go::<u8>(1) }",
            vec!["*runtime::go"],
        ),
        (
            "mod inner { use super::*; use self::a::B; }",
            vec!["*limiter::pace::*", "*limiter::pace::inner::a::B"],
        ),
        ("use iterd::cli::main;", vec!["*cli::main"]),
        (
            "macro_rules! m { () => { $crate::api::x!() } }",
            vec!["*api::x"],
        ),
        (
            "pub(in crate::limiter) fn f(a: ::serde::De) {}",
            vec!["*limiter", "serde::De"],
        ),
        (
            "/// [`crate::store`]\nfn f() { let s = \"crate::store\"; } // crate::store",
            vec![],
        ),
        (
            "fn f() -> Vec<tokio::Task> { x.map(rand::random) }",
            vec!["tokio::Task", "rand::random"],
        ),
    ] {
        let source = Source::parse("src/limiter/pace.rs", code);
        let found: Vec<String> = source
            .paths()
            .iter()
            .map(|path| {
                format!(
                    "{}{}",
                    if path.ours { "*" } else { "" },
                    path.segments.join("::")
                )
            })
            .collect();
        assert_eq!(found, expected, "{code}");
    }
}

#[test]
fn what_only_tests_compile_is_told_from_the_rest() {
    let code = "
        use a::x;
        #[cfg(test)]
        use b::x;
        use c::x;
        #[cfg(test)]
        #[expect(lint)]
        mod tests { use d::x; }
        fn f() { e::x() }
        #[tokio::test]
        async fn g() { h::x() }
        #[cfg(not(test))]
        use i::x;
    ";
    let source = Source::parse("src/store/writer.rs", code);
    let in_tests: String = source
        .paths()
        .iter()
        .filter(|path| path.in_test)
        .map(|path| path.segments[0].as_str())
        .collect();
    assert_eq!(in_tests, "bdh");
    assert!(Source::parse("src/store/tests/crash.rs", "use a::x;").paths()[0].in_test);
}
