//! The tokens of a source file, without the parts that do not change a result: comments, documentation, lints, tests,
//! and formatting by `rustfmt`. Two texts that differ only in these parts have the same tokens.

use std::str::FromStr;

use proc_macro2::Delimiter;
use proc_macro2::TokenStream;
use proc_macro2::TokenTree;

/// A token, or a group of them with its delimiters.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Ident(String),
    Punct(char),
    /// As written, except for the characters that continue a string on the next line.
    Literal(String),
    Group(char, Vec<Token>, char),
}

/// One name that a `use` brings into a file; a glob has the name `*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub name: String,
    /// The path, starting with `crate`, `self`, `super`, a child module or an external crate.
    pub path: Vec<String>,
    /// Whether it is `pub` in any form, so that other files can reach it through this one.
    pub public: bool,
}

/// A file's tokens, without its imports and without the declarations of its child modules; and its imports.
#[derive(Debug, Default)]
pub struct File {
    pub tokens: Vec<Token>,
    pub imports: Vec<Import>,
}

impl File {
    /// Reads a file's text. The error says what is not valid Rust.
    pub fn read(text: &str) -> Result<Self, String> {
        let stream = TokenStream::from_str(text).map_err(|error| error.to_string())?;
        let mut imports = Vec::new();
        let tokens = decisive(plain(stream), &mut imports);
        Ok(Self { tokens, imports })
    }

    /// A text that is the same for all formattings of the same tokens.
    pub fn text(&self) -> String {
        let mut out = String::new();
        write_all(&self.tokens, &mut out);
        out
    }
}

impl Token {
    fn is(&self, punct: char) -> bool {
        *self == Self::Punct(punct)
    }

    pub fn ident(&self) -> Option<&str> {
        match self {
            Self::Ident(name) => Some(name),
            _ => None,
        }
    }

    fn is_ident(&self, name: &str) -> bool {
        self.ident() == Some(name)
    }
}

fn plain(stream: TokenStream) -> Vec<Token> {
    let token = |tree| match tree {
        TokenTree::Ident(ident) => vec![Token::Ident(ident.to_string())],
        TokenTree::Punct(punct) => vec![Token::Punct(punct.as_char())],
        TokenTree::Literal(literal) => vec![Token::Literal(joined(&literal.to_string()))],
        TokenTree::Group(group) => match group.delimiter() {
            Delimiter::Parenthesis => vec![Token::Group('(', plain(group.stream()), ')')],
            Delimiter::Brace => vec![Token::Group('{', plain(group.stream()), '}')],
            Delimiter::Bracket => vec![Token::Group('[', plain(group.stream()), ']')],
            Delimiter::None => plain(group.stream()),
        },
    };
    stream.into_iter().flat_map(token).collect()
}

/// A string literal without the line breaks that follow a backslash, which change with the indentation.
fn joined(literal: &str) -> String {
    if literal.starts_with('r') || literal.starts_with("br") || !literal.contains("\\\n") {
        return literal.to_owned();
    }
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

/// Leaves out attributes that do not affect results, tests, child modules and imports. The imports are collected.
fn decisive(tokens: Vec<Token>, imports: &mut Vec<Import>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((attribute, end)) = attribute(&tokens, at) {
            let is_test = is_test(attribute);
            if !is_test && !does_not_affect_results(attribute) {
                kept.extend(tokens[at..end].iter().cloned());
            }
            at = if is_test { item_end(&tokens, end) } else { end };
            continue;
        }
        match &tokens[at] {
            token if token.is_ident("use") && !tokens.get(at + 1).is_some_and(|next| next.is('<')) => {
                let end = position(&tokens, at, |token| token.is(';'));
                let public = take_visibility(&mut kept);
                import(&tokens[at + 1..end], &mut Vec::new(), public, imports);
                at = end + 1;
            }
            token if token.is_ident("mod") && tokens.get(at + 2).is_some_and(|next| next.is(';')) => {
                take_visibility(&mut kept);
                at += 3;
            }
            Token::Group(open, inner, close) => {
                kept.push(Token::Group(*open, decisive(inner.clone(), imports), *close));
                at += 1;
            }
            token => {
                kept.push(token.clone());
                at += 1;
            }
        }
    }
    kept
}

/// The attribute that begins at `at`, and the place where it ends.
fn attribute(tokens: &[Token], at: usize) -> Option<(&[Token], usize)> {
    let inner = usize::from(tokens.get(at + 1)?.is('!'));
    match tokens.get(at + 1 + inner)? {
        Token::Group('[', attribute, _) if tokens[at].is('#') => Some((attribute, at + 2 + inner)),
        _ => None,
    }
}

fn is_test(attribute: &[Token]) -> bool {
    let cfg = [Token::Ident("cfg".into()), Token::Group('(', vec![Token::Ident("test".into())], ')')];
    attribute == cfg
}

fn does_not_affect_results(attribute: &[Token]) -> bool {
    ["doc", "allow", "expect", "warn", "deny", "must_use"].iter().any(|name| attribute[0].is_ident(name))
}

/// The first place from `at` on where `is` holds, or the end.
fn position(tokens: &[Token], at: usize, is: impl Fn(&Token) -> bool) -> usize {
    tokens[at..].iter().position(is).map_or(tokens.len(), |offset| at + offset)
}

/// The place where the item that begins at `at` ends: after its `;`, or after its braces.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut until_semicolon = false;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        until_semicolon |= ["use", "const", "static", "type", "let"].iter().any(|word| token.is_ident(word));
        if token.is(';') || !until_semicolon && matches!(token, Token::Group('{', ..)) {
            return place + 1;
        }
    }
    tokens.len()
}

/// Removes `pub` or `pub(..)` from the end and returns whether it was there.
fn take_visibility(kept: &mut Vec<Token>) -> bool {
    let scoped = matches!(kept.last(), Some(Token::Group('(', ..)));
    let public = kept.len().checked_sub(1 + usize::from(scoped)).is_some_and(|at| kept[at].is_ident("pub"));
    if public {
        kept.truncate(kept.len() - 1 - usize::from(scoped));
    }
    public
}

/// Collects the names of a `use` tree below `prefix`.
fn import(tree: &[Token], prefix: &mut Vec<String>, public: bool, imports: &mut Vec<Import>) {
    let depth = prefix.len();
    let mut alias = None;
    let mut tokens = tree.iter();
    while let Some(token) = tokens.next() {
        match token {
            Token::Group(_, inner, _) => {
                inner.split(|token| token.is(',')).for_each(|tree| import(tree, prefix, public, imports));
                prefix.truncate(depth);
                return;
            }
            Token::Ident(word) if word == "as" => alias = tokens.next().and_then(Token::ident),
            Token::Ident(word) => prefix.push(word.clone()),
            Token::Punct('*') => prefix.push("*".into()),
            _ => {}
        }
    }
    if prefix.len() > depth {
        if prefix.len() > 1 && prefix.last().is_some_and(|last| last == "self") {
            prefix.pop();
        }
        let name = alias.or(prefix.last().map(String::as_str)).unwrap_or_default().to_owned();
        imports.push(Import { name, path: prefix.clone(), public });
    }
    prefix.truncate(depth);
}

/// Writes tokens independently of the formatting. Some tokens depend on the length of a line: a comma before
/// a closing delimiter, braces around a single expression after `=>` or a closure's arguments, and the
/// semicolon after a last `return`.
fn write_all(tokens: &[Token], out: &mut String) {
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        match token {
            Token::Ident(text) | Token::Literal(text) => word(out, text),
            Token::Punct(',') if next.is_none_or(|next| next.is('>')) => {}
            Token::Punct(punct) => word(out, punct.encode_utf8(&mut [0; 4])),
            Token::Group(open, inner, close) => {
                let inner = if *open == '{' { without_last_semicolon(inner) } else { inner };
                let bare = *open == '{' && is_expression(inner) && (is_arm(tokens, at) || is_closure(tokens, at));
                if bare {
                    write_all(inner, out);
                    if is_arm(tokens, at) && next.is_some_and(|next| !next.is(',')) {
                        word(out, ",");
                    }
                    continue;
                }
                word(out, open.encode_utf8(&mut [0; 4]));
                write_all(inner, out);
                if is_one_tuple(tokens, at) {
                    word(out, ",");
                }
                word(out, close.encode_utf8(&mut [0; 4]));
            }
        }
    }
}

/// A block without the semicolon after a last `return`, `break` or `continue`, where it has no meaning.
fn without_last_semicolon(block: &[Token]) -> &[Token] {
    let Some((last, rest)) = block.split_last() else { return block };
    let statement = rest.rsplit(|token| token.is(';')).next().unwrap_or_default();
    let leaves = statement.iter().any(|token| ["return", "break", "continue"].iter().any(|word| token.is_ident(word)));
    if last.is(';') && leaves { rest } else { block }
}

fn word(out: &mut String, text: &str) {
    out.push_str(text);
    out.push(' ');
}

/// Whether the group at `at` follows `=>`.
fn is_arm(tokens: &[Token], at: usize) -> bool {
    at > 1 && tokens[at - 1].is('>') && tokens[at - 2].is('=')
}

/// Whether the group at `at` follows a closure's arguments.
fn is_closure(tokens: &[Token], at: usize) -> bool {
    at > 0 && tokens[at - 1].is('|')
}

fn is_expression(inner: &[Token]) -> bool {
    !inner.is_empty() && !inner.iter().any(|token| token.is(';'))
}

/// Whether the group at `at` is `(x,)`, whose comma has a meaning, and not the arguments of a call.
fn is_one_tuple(tokens: &[Token], at: usize) -> bool {
    const BEFORE_AN_EXPRESSION: [&str; 10] =
        ["return", "in", "match", "if", "else", "let", "while", "break", "mut", "as"];
    let Token::Group('(', inner, _) = &tokens[at] else { return false };
    let commas = inner.iter().filter(|token| token.is(',')).count();
    if commas != 1 || !inner.last().is_some_and(|last| last.is(',')) {
        return false;
    }
    let is_arrow = || at > 1 && (tokens[at - 2].is('=') || tokens[at - 2].is('-'));
    match at.checked_sub(1).map(|at| &tokens[at]) {
        Some(Token::Ident(word)) => BEFORE_AN_EXPRESSION.contains(&word.as_str()),
        Some(Token::Group(..) | Token::Punct('!' | '?')) => false,
        Some(Token::Punct('>')) => is_arrow(),
        _ => true,
    }
}
