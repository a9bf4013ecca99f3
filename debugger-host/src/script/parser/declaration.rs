//! Types, declarations and functions.

use super::super::problem::{Position, Problem};
use super::super::token::Kind;
use super::super::tree::{Base, Function, Initial, NewType, StatementKind, TypeName, Variable};
use super::{Parsed, Parser};

/// Words of which the basic types consist.
const BASIC: [&str; 10] = [
    "void", "bool", "char", "short", "int", "long", "float", "double", "signed", "unsigned",
];

/// Words before a type, and behind it or a `*`. They say nothing of the values; `const` keeps the
/// variable from being written to.
const QUALIFIERS: [&str; 2] = ["const", "volatile"];

/// Words that a name or members follow.
const TAGGED: [&str; 3] = ["struct", "union", "enum"];

impl Parser<'_> {
    /// The word at that distance begins a type.
    pub(super) fn type_follows(&self, by: usize) -> bool {
        match &self.ahead(by).kind {
            Kind::Word(word) => {
                let word = word.as_str();
                BASIC.contains(&word)
                    || self.type_names.contains(word)
                    || word == "struct"
                    || QUALIFIERS.contains(&word) && self.type_follows(by + 1)
                    || TAGGED.contains(&word)
                        && matches!(self.ahead(by + 1).kind, Kind::Word(_) | Kind::Sign("{"))
            }
            _ => false,
        }
    }

    /// A declaration begins here, not a variable that has a type's name.
    pub(super) fn declaration_follows(&self) -> bool {
        self.is_word("typedef")
            || self.type_follows(0)
            || self.is_word("static") && self.type_follows(1)
    }

    /// A type without a name: base, `*` and `[…]`.
    pub(super) fn type_name(&mut self) -> Parsed<TypeName> {
        let mut type_name = self.base_type()?;
        self.pointers(&mut type_name)?;
        self.bounds(&mut type_name)?;
        Ok(type_name)
    }

    fn base_type(&mut self) -> Parsed<TypeName> {
        let at = self.at();
        let mut is_const = self.qualifiers();
        let base = match self.peek() {
            Kind::Word(word) if word == "struct" || word == "union" => {
                let is_union = word == "union";
                self.step();
                self.structure(at, is_union)?
            }
            Kind::Word(word) if word == "enum" => {
                self.step();
                self.enumeration()?
            }
            Kind::Word(word) if self.type_names.contains(word) => {
                self.step();
                Base::Named(word.clone())
            }
            _ => self.basic_type(at)?,
        };
        is_const |= self.qualifiers();
        Ok(TypeName {
            at,
            base,
            is_const,
            pointers: 0,
            bounds: Vec::new(),
        })
    }

    /// Steps over words that qualify a type; whether `const` is among them.
    fn qualifiers(&mut self) -> bool {
        let mut is_const = false;
        while let Kind::Word(word) = self.peek()
            && QUALIFIERS.contains(&word.as_str())
        {
            is_const |= word == "const";
            self.step();
        }
        is_const
    }

    /// After `enum`: a name, which says nothing, or constants, or both.
    fn enumeration(&mut self) -> Parsed<Base> {
        let int = Base::Integer {
            bytes: 4,
            signed: true,
        };
        if !self.is_sign("{") {
            self.name("the name of an enum")?;
        }
        if self.accept("{") {
            let mut constants = Vec::new();
            while !self.is_sign("}") {
                let (at, name) = self.name("the name of a constant")?;
                let value = if self.accept("=") {
                    Some(self.conditional_value()?)
                } else {
                    None
                };
                constants.push((at, name, value));
                if !self.accept(",") {
                    break;
                }
            }
            self.expect("}")?;
            self.types.push(NewType::Enum(constants));
        }
        Ok(int)
    }

    fn basic_type(&mut self, at: Position) -> Parsed<Base> {
        let mut words = Vec::new();
        while let Kind::Word(word) = self.peek()
            && BASIC.contains(&word.as_str())
        {
            words.push(word.as_str());
            self.step();
        }
        let sign = words
            .iter()
            .position(|w| matches!(*w, "signed" | "unsigned"));
        let signed = sign.map(|sign| words.remove(sign) == "signed");
        let integer = |bytes| Base::Integer {
            bytes,
            signed: signed.unwrap_or(true),
        };
        let base = match words[..] {
            ["void"] => Base::Void,
            ["bool"] => Base::Bool,
            ["float"] => Base::Float,
            ["double"] => Base::Double,
            ["char"] => integer(1),
            ["short"] | ["short", "int"] => integer(2),
            ["int"] => integer(4),
            ["long" | "int", "long"] | ["long"] | ["long", "int"] | ["long", "long", "int"] => {
                integer(8)
            }
            [] if signed.is_some() => integer(4),
            [] => return Err(self.unexpected("a type")),
            _ => {
                return Err(Problem::new(
                    at,
                    format!("`{}` is not a type", words.join(" ")),
                ));
            }
        };
        if signed.is_some() && !matches!(base, Base::Integer { .. }) {
            return Err(Problem::new(
                at,
                format!("`{}` has no sign", words.join(" ")),
            ));
        }
        Ok(base)
    }

    /// After `struct` or `union`: a name, members, or both.
    fn structure(&mut self, at: Position, is_union: bool) -> Parsed<Base> {
        let name = if self.is_sign("{") {
            format!("without a name, line {}, column {}", at.line, at.column)
        } else {
            self.name("the name of a struct")?.1
        };
        if self.accept("{") {
            let mut members = Vec::new();
            while !self.is_sign("}") {
                if !self.type_follows(0) {
                    return Err(self.unexpected("the type of a member"));
                }
                let base = self.nested(Self::base_type)?;
                loop {
                    let member = self.declarator(&base)?;
                    if member.name.starts_with('.') {
                        return Err(Problem::new(member.at, "a member has no `.` in its name"));
                    }
                    members.push(member);
                    if !self.accept(",") {
                        break;
                    }
                }
                self.expect(";")?;
            }
            self.expect("}")?;
            let new = if is_union {
                NewType::Union
            } else {
                NewType::Struct
            };
            self.types.push(new(at, name.clone(), members));
        }
        Ok(Base::Struct(name))
    }

    fn pointers(&mut self, type_name: &mut TypeName) -> Parsed<()> {
        while self.accept("*") {
            type_name.is_const = self.qualifiers();
            type_name.pointers += 1;
            if type_name.pointers > 16 {
                return Err(Problem::new(type_name.at, "more than 16 `*`"));
            }
        }
        Ok(())
    }

    fn bounds(&mut self, type_name: &mut TypeName) -> Parsed<()> {
        while self.accept("[") {
            let bound = if self.is_sign("]") {
                None
            } else {
                Some(self.expression()?)
            };
            self.expect("]")?;
            type_name.bounds.push(bound);
            if type_name.bounds.len() > 16 {
                return Err(Problem::new(type_name.at, "more than 16 dimensions"));
            }
        }
        Ok(())
    }

    /// `*name[…]` of a type.
    fn declarator(&mut self, base: &TypeName) -> Parsed<Variable> {
        let mut type_name = base.clone();
        self.pointers(&mut type_name)?;
        let at = self.at();
        let name = if let Kind::Dotted(name) = self.peek() {
            self.step();
            format!(".{name}")
        } else if self.is_sign("(") {
            return Err(Problem::new(
                at,
                "pointers to arrays and functions are not part of the language",
            ));
        } else {
            self.name("a name")?.1
        };
        self.bounds(&mut type_name)?;
        Ok(Variable {
            at,
            name,
            is_const: type_name.is_const,
            is_static: false,
            type_name,
            initial: None,
        })
    }

    /// Variables, or new types, up to the `;`.
    pub(super) fn declaration(&mut self) -> Parsed<StatementKind> {
        if self.accept_word("typedef") {
            let base = self.base_type()?;
            loop {
                let alias = self.declarator(&base)?;
                self.type_names.insert(alias.name.clone());
                self.types.push(NewType::Alias(alias));
                if !self.accept(",") {
                    return Ok(StatementKind::Nothing);
                }
            }
        }
        let is_static = self.accept_word("static");
        let is_enum = self.is_word("enum");
        let base = self.base_type()?;
        let mut variables = Vec::new();
        if self.is_sign(";") && (is_enum || matches!(base.base, Base::Struct(_))) {
            return Ok(StatementKind::Nothing);
        }
        loop {
            let mut variable = self.declarator(&base)?;
            variable.is_static = is_static;
            if self.accept("=") {
                variable.initial = Some(self.initial()?);
            }
            variables.push(variable);
            if !self.accept(",") {
                return Ok(StatementKind::Declare(variables));
            }
        }
    }

    fn initial(&mut self) -> Parsed<Initial> {
        let at = self.at();
        if !self.accept("{") {
            return Ok(Initial::Value(self.expression()?));
        }
        let mut list = Vec::new();
        while !self.is_sign("}") {
            list.push(self.nested(Self::initial)?);
            if !self.accept(",") {
                break;
            }
        }
        self.expect("}")?;
        Ok(Initial::List(at, list))
    }

    /// A function, if one begins here; the inner `None` is one that was only announced.
    pub(super) fn function(&mut self) -> Parsed<Option<Option<Function>>> {
        if !self.type_follows(0) {
            return Ok(None);
        }
        let start = self.next;
        let known_types = self.types.len();
        let mut returns = self.base_type()?;
        self.pointers(&mut returns)?;
        if !matches!(self.peek(), Kind::Word(_)) || !matches!(self.ahead(1).kind, Kind::Sign("(")) {
            self.next = start;
            self.types.truncate(known_types);
            return Ok(None);
        }
        let (at, name) = self.name("the name of a function")?;
        let parameters = self.parameters()?;
        if self.accept(";") {
            return Ok(Some(None));
        }
        let (body, end) = self.block()?;
        Ok(Some(Some(Function {
            at,
            name,
            returns,
            parameters,
            body,
            end,
        })))
    }

    fn parameters(&mut self) -> Parsed<Vec<Variable>> {
        self.expect("(")?;
        let mut parameters = Vec::new();
        if self.is_word("void") && matches!(self.ahead(1).kind, Kind::Sign(")")) {
            self.step();
        }
        while !self.is_sign(")") {
            if !self.type_follows(0) {
                let problem = self.unexpected("the type of a parameter");
                return Err(match problem.help {
                    Some(_) => problem,
                    None => problem.help("write it as in C, `int count`"),
                });
            }
            let base = self.base_type()?;
            let mut parameter = self.declarator(&base)?;
            if parameter.name.starts_with('.') {
                return Err(Problem::new(parameter.at, "a parameter cannot be global"));
            }
            // An array is passed as a pointer to its first element.
            if !parameter.type_name.bounds.is_empty() {
                if parameter.type_name.bounds.len() > 1 {
                    return Err(Problem::new(
                        parameter.at,
                        "an array of arrays cannot be a parameter",
                    )
                    .help("pass a pointer"));
                }
                parameter.type_name.bounds.clear();
                parameter.type_name.pointers += 1;
            }
            parameters.push(parameter);
            if !self.accept(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(parameters)
    }
}
