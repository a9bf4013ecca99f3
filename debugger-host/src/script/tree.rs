//! A script as it is written. Made by [`super::parser`], given a meaning by [`super::check`].

use super::problem::Position;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// Where its operator, or its only word, stands.
    pub at: Position,
    /// Levels of expressions in it, itself included.
    pub depth: u16,
    /// What it is.
    pub kind: ExpressionKind,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpressionKind {
    /// A number that cannot be a name.
    Number(u64),
    /// A number with a fraction.
    Float(f64),
    /// `"…"` without the zero at the end.
    Text(Vec<u8>),
    /// `L"…"` without the zero at the end.
    Wide(Vec<u8>),
    /// A variable, a register, a hexadecimal number or a symbol, whichever there is first.
    Name(String),
    /// `.name`
    Global(String),
    /// `@name`
    Register(String),
    /// `$name`
    Pseudo(String),
    /// `module!name`
    Symbol(String),
    /// One operand.
    Unary(Unary, Box<Expression>),
    /// Two operands.
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// `x ? y : z`
    Conditional(Box<Expression>, Box<Expression>, Box<Expression>),
    /// `try x else y`
    Try(Box<Expression>, Box<Expression>),
    /// `(type) x`
    Cast(TypeName, Box<Expression>),
    /// `sizeof (type)`
    SizeOfType(TypeName),
    /// `sizeof x`
    SizeOf(Box<Expression>),
    /// `name(…)`
    Call(String, Vec<Expression>),
    /// `x[i]`
    Index(Box<Expression>, Box<Expression>),
    /// `x.name`
    Member(Box<Expression>, String),
    /// `x->name`
    Arrow(Box<Expression>, String),
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `-x`
    Negate,
    /// `~x`
    Complement,
    /// `+x`
    Plus,
    /// `!x`: 1 for zero, else 0.
    Not,
    /// `*x`
    Target,
    /// `&x`
    Address,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after their signs")]
pub enum Binary {
    LogicalOr,
    LogicalAnd,
    Or,
    Xor,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Binary {
    /// It is a comparison.
    #[must_use]
    pub const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessEqual
                | Self::Greater
                | Self::GreaterEqual
        )
    }

    /// The operator of a sign, and how tightly it binds: the higher, the tighter.
    #[must_use]
    pub fn of(sign: &str) -> Option<(Self, u8)> {
        Some(match sign {
            "||" => (Self::LogicalOr, 1),
            "&&" => (Self::LogicalAnd, 2),
            "|" => (Self::Or, 3),
            "^" => (Self::Xor, 4),
            "&" => (Self::And, 5),
            "==" => (Self::Equal, 6),
            "!=" => (Self::NotEqual, 6),
            "<" => (Self::Less, 7),
            "<=" => (Self::LessEqual, 7),
            ">" => (Self::Greater, 7),
            ">=" => (Self::GreaterEqual, 7),
            "<<" => (Self::ShiftLeft, 8),
            ">>" => (Self::ShiftRight, 8),
            "+" => (Self::Add, 9),
            "-" => (Self::Subtract, 9),
            "*" => (Self::Multiply, 10),
            "/" => (Self::Divide, 10),
            "%" => (Self::Remainder, 10),
            _ => return None,
        })
    }
}

/// A type as it is written: `struct S *[4]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeName {
    /// Where it begins.
    pub at: Position,
    /// Its first part.
    pub base: Base,
    /// Number of `*`.
    pub pointers: u32,
    /// `const` stands before the last `*`, or there is no `*`.
    pub is_const: bool,
    /// Bounds of an array, the outermost first; `None` for `[]`.
    pub bounds: Vec<Option<Expression>>,
}

/// What a type begins with.
#[derive(Clone, Debug, PartialEq)]
pub enum Base {
    /// `void`
    Void,
    /// `bool`
    Bool,
    /// `char`, `short`, `int`, `long`, `long long`, with their length and sign.
    Integer {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Not `unsigned`.
        signed: bool,
    },
    /// `float`
    Float,
    /// `double`
    Double,
    /// `struct name` or `union name`, or a made-up name for one that has none.
    Struct(String),
    /// A name that `typedef` made.
    Named(String),
}

/// A name with a type: a variable, a member, a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Where the name stands.
    pub at: Position,
    /// Its name; that of a global begins with `.`.
    pub name: String,
    /// Its type.
    pub type_name: TypeName,
    /// What stands after `=`.
    pub initial: Option<Initial>,
    /// `const`
    pub is_const: bool,
    /// `static`
    pub is_static: bool,
}

/// An initial value.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial {
    /// One value.
    Value(Expression),
    /// `{ … }`
    List(Position, Vec<Initial>),
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub kind: StatementKind,
}

/// What a statement is.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `;`
    Nothing,
    /// `{ … }`
    Block(Vec<Statement>),
    /// `if`, `elsif` … and `else`.
    If(Vec<(Expression, Statement)>, Option<Box<Statement>>),
    /// `switch`
    Switch(Expression, Vec<Case>),
    /// `while`
    While(Expression, Box<Statement>),
    /// `do … while`
    DoWhile(Box<Statement>, Expression),
    /// `for`
    For {
        /// Before the first round.
        first: Vec<Statement>,
        /// Before each round; true if missing.
        condition: Option<Expression>,
        /// After each round.
        next: Vec<Statement>,
        /// The round.
        body: Box<Statement>,
    },
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `return`
    Return(Option<Expression>),
    /// `a = b = value`, or `a += value` with an operator; the leftmost target first.
    Assign(Vec<Expression>, Option<Binary>, Expression),
    /// A call whose value nobody wants.
    Evaluate(Expression),
    /// Declared variables.
    Declare(Vec<Variable>),
}

/// A part of a `switch`: what leads to it, and all up to the next part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// The numbers after `case`.
    pub numbers: Vec<Expression>,
    /// `default` is among what leads to it.
    pub is_default: bool,
    /// What is done.
    pub body: Vec<Statement>,
}

/// A function.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Where its name stands.
    pub at: Position,
    /// Its name.
    pub name: String,
    /// What it returns.
    pub returns: TypeName,
    /// Its parameters.
    pub parameters: Vec<Variable>,
    /// Its statements.
    pub body: Vec<Statement>,
    /// Where its `}` stands.
    pub end: Position,
}

/// Something that gives a name to a type.
#[derive(Clone, Debug, PartialEq)]
pub enum NewType {
    /// `struct name { … }`
    Struct(Position, String, Vec<Variable>),
    /// `union name { … }`
    Union(Position, String, Vec<Variable>),
    /// `enum { … }`: names, and the numbers that some have.
    Enum(Vec<(Position, String, Option<Expression>)>),
    /// `typedef`
    Alias(Variable),
}

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The types it makes, in the order in which they are written.
    pub types: Vec<NewType>,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its statements outside of functions.
    pub body: Vec<Statement>,
}
