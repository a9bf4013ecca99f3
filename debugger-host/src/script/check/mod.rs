//! Gives a script its meaning: resolves names, works out types, spells out conversions, and says
//! what cannot be meant. Called by [`super::compile`].

mod arithmetic;
mod call;
mod comparison;
mod convert;
mod expression;
mod format;
mod initial;
mod memory;
mod names;
mod printf;
mod statement;
mod switch;
mod type_name;
mod update;

pub(crate) use arithmetic::whole;
#[cfg(test)]
pub(crate) use call::known as functions;
pub(super) use convert::{extension, is_truth};

use super::Environment;
use super::problem::{Position, Problem};
use super::tree::{self, Script};
use super::types::{Struct, Type};
use super::value::{Action, Line, Meaning, Slot, Unit, Value};
use names::Names;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use wire_protocol::bytecode::{ARGUMENTS, FUNCTIONS};

/// Bytes that one variable may have; the areas of variables are not larger.
const VARIABLE_LIMIT: u32 = wire_protocol::bytecode::LOCAL_BYTES as u32;

type Checked<T> = Result<T, Problem>;

/// A function as its callers see it.
#[derive(Clone, Debug)]
struct Signature {
    at: Position,
    parameters: Vec<Type>,
    returns: Type,
}

/// A global variable that the script uses.
#[derive(Clone, Debug)]
struct Global {
    of: Type,
    offset: u16,
}

/// What is being checked: the main part or a function.
#[derive(Debug, Default)]
struct Frame {
    slots: Vec<Slot>,
    /// Declared names, the innermost block last.
    scopes: Vec<HashMap<String, usize>>,
    /// Names, some of which are written to without having been declared.
    names: Names,
    /// Loops around the statement.
    loops: usize,
    /// Loops and `switch`es around it.
    breakable: usize,
    /// Variables that cannot be written to.
    unwritable: HashSet<usize>,
    /// Of variables that are static, their numbers among all that are.
    statics: HashMap<usize, usize>,
    /// `None` in the main part.
    returns: Option<Type>,
}

/// Checks one script.
pub struct Checker<'a> {
    environment: &'a mut dyn Environment,
    arguments: &'a [String],
    functions: Vec<Signature>,
    function_names: HashMap<String, usize>,
    structs: HashMap<String, Rc<Struct>>,
    aliases: HashMap<String, Type>,
    /// Numbers with names.
    constants: HashMap<String, i64>,
    /// Types of all static variables.
    statics: Vec<Type>,
    /// Globals that cannot be written to.
    unwritable: HashSet<String>,
    globals: HashMap<String, Global>,
    used_globals: Vec<(String, u32)>,
    frame: Frame,
    /// Variables of the main part, for the message when a function wants one.
    main_names: HashSet<String>,
    warnings: Vec<Problem>,
}

impl<'a> Checker<'a> {
    /// A checker for one script, whose `$arg0`, `$arg1` … are `arguments`.
    pub fn new(environment: &'a mut dyn Environment, arguments: &'a [String]) -> Self {
        Self {
            environment,
            arguments,
            functions: Vec::new(),
            function_names: HashMap::new(),
            structs: HashMap::new(),
            aliases: HashMap::new(),
            constants: HashMap::new(),
            statics: Vec::new(),
            unwritable: HashSet::new(),
            globals: HashMap::new(),
            used_globals: Vec::new(),
            frame: Frame::default(),
            main_names: HashSet::new(),
            warnings: Vec::new(),
        }
    }

    /// What may not be meant, though it can be.
    #[must_use]
    pub fn into_warnings(self) -> Vec<Problem> {
        self.warnings
    }

    /// Checks a script.
    ///
    /// # Errors
    /// At the first place that has no meaning.
    pub fn script(&mut self, script: &Script) -> Checked<Meaning> {
        self.new_types(&script.types)?;
        for function in &script.functions {
            self.announce(function)?;
        }
        let names = Names::of(&script.body);
        self.main_names.clone_from(&names.assigned);
        let main = self.main(&script.body, names)?;
        let mut functions = Vec::new();
        for function in &script.functions {
            functions.push(self.function(function)?);
        }
        Ok(Meaning {
            main,
            functions,
            statics: std::mem::take(&mut self.statics),
            globals: std::mem::take(&mut self.used_globals),
        })
    }

    /// Checks a lone expression: the script returns its value, and the value's type comes back.
    ///
    /// # Errors
    /// When it has no value.
    pub fn only_expression(&mut self, expression: &tree::Expression) -> Checked<(Meaning, Type)> {
        self.enter(None, Names::default());
        let value = self.value(expression)?;
        self.need_value(&value)?;
        Ok(self.returning(value))
    }

    /// Checks a lone expression of which only matters whether it is zero.
    ///
    /// # Errors
    /// When it has no value.
    pub fn condition_alone(&mut self, expression: &tree::Expression) -> Checked<(Meaning, Type)> {
        self.enter(None, Names::default());
        let value = self.value(expression)?;
        let value = self.condition(value)?;
        Ok(self.returning(value))
    }

    fn returning(&mut self, value: Value) -> (Meaning, Type) {
        let of = value.of.clone();
        let main = Unit {
            name: String::new(),
            parameters: 0,
            slots: std::mem::take(&mut self.frame.slots),
            lines: vec![Line {
                at: value.at,
                action: Action::Return(Some(value)),
            }],
        };
        let meaning = Meaning {
            main,
            functions: Vec::new(),
            statics: Vec::new(),
            globals: std::mem::take(&mut self.used_globals),
        };
        (meaning, of)
    }

    fn enter(&mut self, returns: Option<Type>, names: Names) {
        self.frame = Frame {
            scopes: vec![HashMap::new()],
            names,
            returns,
            ..Frame::default()
        };
    }

    fn main(&mut self, body: &[tree::Statement], names: Names) -> Checked<Unit> {
        self.enter(None, names);
        let lines = self.statements(body)?;
        let declared = self.frame.slots.iter().map(|slot| slot.name.clone());
        self.main_names.extend(declared);
        Ok(Unit {
            name: String::new(),
            parameters: 0,
            slots: std::mem::take(&mut self.frame.slots),
            lines,
        })
    }

    fn announce(&mut self, function: &tree::Function) -> Checked<()> {
        let name = &function.name;
        if call::is_known(name) {
            return Err(Problem::new(
                function.at,
                format!("`{name}` is a function of the language"),
            )
            .help("choose another name"));
        }
        if let Some(first) = self.function_names.get(name) {
            let line = self.functions.get(*first).map_or(0, |first| first.at.line);
            return Err(Problem::new(
                function.at,
                format!("there is a function `{name}` already, in line {line}"),
            ));
        }
        if self.functions.len() >= FUNCTIONS {
            return Err(Problem::new(
                function.at,
                format!("a script can have no more than {FUNCTIONS:x} functions"),
            ));
        }
        if function.parameters.len() > ARGUMENTS {
            return Err(Problem::new(
                function.at,
                format!("a function can have at most {ARGUMENTS} parameters"),
            )
            .help("pass a pointer to a struct"));
        }
        let returns = self.type_of(&function.returns)?;
        if !returns.is_scalar() && returns != Type::Void {
            return Err(
                Problem::new(function.at, format!("a function cannot return `{returns}`"))
                    .help("return a pointer, or take one as parameter"),
            );
        }
        let mut parameters = Vec::new();
        for parameter in &function.parameters {
            let of = self.type_of(&parameter.type_name)?;
            if !of.is_scalar() {
                return Err(
                    Problem::new(parameter.at, format!("a parameter cannot be `{of}`"))
                        .help("take a pointer"),
                );
            }
            parameters.push(of);
        }
        self.function_names
            .insert(name.clone(), self.functions.len());
        self.functions.push(Signature {
            at: function.at,
            parameters,
            returns,
        });
        Ok(())
    }

    fn function(&mut self, function: &tree::Function) -> Checked<Unit> {
        let returns = self.type_of(&function.returns)?;
        self.enter(Some(returns), Names::of(&function.body));
        for parameter in &function.parameters {
            let of = self.type_of(&parameter.type_name)?;
            self.declare(parameter.at, &parameter.name, of)?;
        }
        let lines = self.statements(&function.body)?;
        Ok(Unit {
            name: function.name.clone(),
            parameters: function.parameters.len(),
            slots: std::mem::take(&mut self.frame.slots),
            lines,
        })
    }

    /// Makes a variable of the innermost block.
    fn declare(&mut self, at: Position, name: &str, of: Type) -> Checked<usize> {
        match of.size() {
            None => {
                return Err(Problem::new(at, format!("a variable cannot be `{of}`")));
            }
            Some(size) if size > VARIABLE_LIMIT => {
                return Err(Problem::new(
                    at,
                    format!(
                        "`{name}` has {size:x} bytes, more than the {VARIABLE_LIMIT:x} of all variables"
                    ),
                ));
            }
            Some(_) => {}
        }
        if self.function_names.contains_key(name) {
            return Err(
                Problem::new(at, format!("`{name}` is a function")).help("choose another name")
            );
        }
        let number = self.frame.slots.len();
        let Some(scope) = self.frame.scopes.last_mut() else {
            return Err(Problem::new(at, "no variable can be declared here"));
        };
        if scope.insert(name.to_owned(), number).is_some() {
            return Err(Problem::new(
                at,
                format!("there is a variable `{name}` already in this block"),
            ));
        }
        self.frame.slots.push(Slot {
            name: name.to_owned(),
            of,
        });
        Ok(number)
    }

    /// The declared variable of that name.
    fn declared(&self, name: &str) -> Option<usize> {
        let mut scopes = self.frame.scopes.iter().rev();
        scopes.find_map(|scope| scope.get(name).copied())
    }

    /// The variable of a name that is written to without having been declared.
    fn implicit(&mut self, name: &str) -> usize {
        let number = self.frame.slots.len();
        if let Some(scope) = self.frame.scopes.first_mut() {
            scope.insert(name.to_owned(), number);
        }
        self.frame.slots.push(Slot {
            name: name.to_owned(),
            of: Type::Untyped,
        });
        number
    }

    /// The global variable of that name, which has that type if it is declared here.
    fn global(&mut self, at: Position, name: &str, of: Option<Type>) -> Checked<Global> {
        if let Some(known) = self.globals.get(name) {
            if let Some(of) = of
                && of != known.of
            {
                return Err(Problem::new(
                    at,
                    format!("`.{name}` is `{}` above and `{of}` here", known.of),
                )
                .help("declare it once, before it is used"));
            }
            return Ok(known.clone());
        }
        let of = of.unwrap_or(Type::Untyped);
        let Some(size) = of.size() else {
            return Err(Problem::new(at, format!("a variable cannot be `{of}`")));
        };
        let len = size.max(1).next_multiple_of(8);
        let offset = self
            .environment
            .global(name, len)
            .map_err(|why| Problem::new(at, format!("`.{name}` cannot be made: {why}")))?;
        let global = Global { of, offset };
        self.used_globals.push((name.to_owned(), len));
        self.globals.insert(name.to_owned(), global.clone());
        Ok(global)
    }

    fn warn(&mut self, problem: Problem) {
        if !self.warnings.contains(&problem) {
            self.warnings.push(problem);
        }
    }

    /// Refuses what a function without value gives.
    fn need_value(&self, value: &Value) -> Checked<()> {
        if value.of == Type::Void {
            Err(Problem::new(value.at, "this function gives no value"))
        } else {
            Ok(())
        }
    }
}
