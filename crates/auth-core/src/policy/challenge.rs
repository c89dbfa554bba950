//! `WWW-Authenticate` (RFC 9110, sections 11.2 to 11.6).
//!
//! A comma separates challenges, and also the parameters of one challenge. The text after the comma shows which one
//! follows: a name with `=` is another parameter, and anything else is the next challenge. Parsing ends at invalid
//! text; the challenges before it are returned.

/// An authentication challenge of a server.
///
/// ```
/// use auth_core::Challenge;
///
/// let challenges = Challenge::parse(r#"Bearer realm="api", error="invalid_token", Negotiate dG9rZW4="#);
/// assert_eq!(challenges[0].parameter("error"), Some("invalid_token"));
/// assert_eq!(challenges[1].token68(), Some("dG9rZW4="));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Parses all challenges of one header. Invalid text ends the list and is not an error.
    pub fn parse(header: &str) -> Vec<Self> {
        let mut parser = HeaderParser(header);
        std::iter::from_fn(|| parser.parse_challenge()).collect()
    }

    /// Returns the scheme as sent by the server. Schemes are case-insensitive.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns true if the scheme is `scheme`, ignoring case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns the value that some schemes, such as `Negotiate`, have instead of parameters (`token68`; RFC 9110,
    /// section 11.2).
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// Returns the value of the first parameter with this name, ignoring case. Quotes and escapes are removed.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A parser of a header. It contains the text that is not parsed yet.
#[derive(Clone, Copy)]
struct HeaderParser<'a>(&'a str);

impl<'a> HeaderParser<'a> {
    fn parse_challenge(&mut self) -> Option<Challenge> {
        self.skip_any([' ', '\t', ',']);
        let scheme = self.parse_token()?.to_owned();
        let mut challenge = Challenge { scheme, token68: None, parameters: Vec::new() };
        if self.skip_any([' ', '\t']) == 0 {
            return self.is_at_end_of_element().then_some(challenge);
        }
        if let Some(token68) = self.try_parse(Self::parse_token68) {
            challenge.token68 = Some(token68.to_owned());
            return Some(challenge);
        }
        while let Some(parameter) = self.try_parse(Self::parse_parameter) {
            challenge.parameters.push(parameter);
            let mut lookahead = *self;
            lookahead.skip_any([' ', '\t', ',']);
            if lookahead.try_parse(Self::parse_parameter).is_none() {
                break;
            }
            self.skip_any([' ', '\t', ',']);
        }
        Some(challenge)
    }

    /// Parses a `token68`, which must be followed by a comma or the end of the header: `abc==`, but not `abc=def`.
    fn parse_token68(&mut self) -> Option<&'a str> {
        let text = self.0;
        let body = self.take_while(|character| character.is_ascii_alphanumeric() || "-._~+/".contains(character));
        let padding = self.take_while(|character| character == '=');
        self.skip_any([' ', '\t']);
        let token68 = &text[..body.len() + padding.len()];
        (!body.is_empty() && self.is_at_end_of_element()).then_some(token68)
    }

    fn parse_parameter(&mut self) -> Option<(String, String)> {
        let name = self.parse_token()?;
        self.skip_any([' ', '\t']);
        self.0 = self.0.strip_prefix('=')?;
        self.skip_any([' ', '\t']);
        let value = if self.0.starts_with('"') { self.parse_quoted_string()? } else { self.parse_token()?.to_owned() };
        self.skip_any([' ', '\t']);
        self.is_at_end_of_element().then(|| (name.to_owned(), value))
    }

    /// Parses a quoted string with backslash escapes.
    fn parse_quoted_string(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.0.char_indices().skip(1);
        loop {
            match characters.next()? {
                (end, '"') => {
                    self.0 = &self.0[end + 1..];
                    return Some(text);
                }
                (_, '\\') => text.push(characters.next()?.1),
                (_, character) => text.push(character),
            }
        }
    }

    fn parse_token(&mut self) -> Option<&'a str> {
        let is_token = |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
        let token = self.take_while(is_token);
        (!token.is_empty()).then_some(token)
    }

    fn take_while(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.0.split_at(self.0.find(|character| !matches(character)).unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Skips all of these characters at the current position. Returns the number of skipped characters.
    fn skip_any<const N: usize>(&mut self, characters: [char; N]) -> usize {
        self.take_while(|character| characters.contains(&character)).len()
    }

    fn is_at_end_of_element(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(',')
    }

    /// Calls `parse`. If it returns `None`, the position is unchanged.
    fn try_parse<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut lookahead = *self;
        let parsed = parse(&mut lookahead);
        if parsed.is_some() {
            *self = lookahead;
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the challenges of a header in a canonical form.
    fn canonical_challenges(header: &str) -> Vec<String> {
        let format_challenge = |challenge: &Challenge| {
            let parameters: Vec<_> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!(
                "{} {}[{}]",
                challenge.scheme,
                challenge.token68.as_deref().unwrap_or_default(),
                parameters.join(";")
            )
        };
        Challenge::parse(header).iter().map(format_challenge).collect()
    }

    #[test]
    fn several_challenges_in_one_header_are_parsed() {
        for (header, expected) in [
            ("Bearer", vec!["Bearer []"]),
            (r#"Bearer realm="a", error=invalid_token"#, vec!["Bearer [realm=a;error=invalid_token]"]),
            (
                r#"Basic realm="a", Bearer realm="b", scope="x y""#,
                vec!["Basic [realm=a]", "Bearer [realm=b;scope=x y]"],
            ),
            ("Negotiate, NTLM, Basic realm=x", vec!["Negotiate []", "NTLM []", "Basic [realm=x]"]),
            ("Negotiate dG9rZW4=, Bearer realm=x", vec!["Negotiate dG9rZW4=[]", "Bearer [realm=x]"]),
            ("Negotiate a==", vec!["Negotiate a==[]"]),
            (
                r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#,
                vec![r#"Newauth [realm=apps;type=1;title=Login to "apps"]"#, "Basic [realm=simple]"],
            ),
            (r#" , ,Bearer  realm = "a" ,, error="b" , Digest , "#, vec!["Bearer [realm=a;error=b]", "Digest []"]),
            (r#"Bearer realm="a, Basic realm=\"b\"""#, vec![r#"Bearer [realm=a, Basic realm="b"]"#]),
            (r#"Bearer realm="never closed, Basic realm=x"#, vec!["Bearer []"]),
            ("Bearer realm=", vec!["Bearer realm=[]"]),
            ("=, Bearer", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(canonical_challenges(header), expected, "{header}");
        }
    }

    #[test]
    fn schemes_and_parameter_names_ignore_case() {
        let challenge = &Challenge::parse("BEARER Error=a, ERROR=b")[0];
        assert!(challenge.is("bearer") && challenge.parameter("error") == Some("a"));
        assert_eq!((challenge.scheme(), challenge.parameter("realm")), ("BEARER", None));
    }

    proptest! {
        #[test]
        fn parser_accepts_any_header(header in any::<String>()) {
            prop_assert!(Challenge::parse(&header).len() <= header.len());
        }

        #[test]
        fn written_challenges_round_trip(values in prop::collection::vec(any::<String>(), 1..4)) {
            let quote = |value: &String| format!("\"{}\"", value.replace('\\', r"\\").replace('"', r#"\""#));
            let headers: Vec<_> = values.iter().map(|value| format!("Scheme a={0}, b={0}", quote(value))).collect();
            let challenges = Challenge::parse(&headers.join(", "));
            prop_assert_eq!(challenges.len(), values.len());
            for (challenge, value) in challenges.iter().zip(&values) {
                prop_assert_eq!(challenge.parameter("a"), Some(value.as_str()));
                prop_assert_eq!(challenge.parameter("b"), Some(value.as_str()));
            }
        }
    }
}
