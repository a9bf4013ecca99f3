//! Labels and jumps, functions and their variables.

use super::{AssembleError, Assembler, Done, FunctionId, LabelId, LabelState};
use crate::bytecode::op::{Op, Shape};
use crate::bytecode::program::Function;
use crate::bytecode::{ARGUMENTS, FRAME_BYTES, FUNCTIONS, LOCAL_BYTES, REGISTER_VARIABLES};

impl Assembler<'_> {
    /// A new label, to be placed later.
    ///
    /// # Errors
    /// There is no room for another.
    pub fn label(&mut self) -> Result<LabelId, AssembleError> {
        let state = self.labels.get_mut(self.label_count);
        *state.ok_or(AssembleError::LabelsFull)? = LabelState::default();
        let id = LabelId(self.label_count as u32);
        self.label_count += 1;
        Ok(id)
    }

    fn state(&mut self, label: LabelId) -> Result<&mut LabelState, AssembleError> {
        let state = self.labels.get_mut(label.0 as usize);
        state.ok_or(AssembleError::Missing)
    }

    /// A jump leads to the label.
    #[must_use]
    pub fn is_reached(&self, label: LabelId) -> bool {
        let state = self.labels.get(label.0 as usize);
        state.is_some_and(|state| state.used)
    }

    /// Places a label here.
    ///
    /// # Errors
    /// A jump to it leaves another depth than there is here.
    pub fn place(&mut self, label: LabelId) -> Done {
        let here = self.here();
        let depth = self.depth;
        let state = self.state(label)?;
        if depth.is_some() && state.depth.is_some() && depth != state.depth {
            return Err(AssembleError::Join(here));
        }
        let known = depth.or(state.depth).unwrap_or(0);
        state.depth = Some(known);
        state.at = Some(here);
        self.depth = Some(known);
        Ok(())
    }

    /// `Jump`, `JumpIfZero` or `JumpUnlessZero` to a label.
    ///
    /// # Errors
    /// The label is reached with another depth from elsewhere.
    pub fn jump(&mut self, op: Op, label: LabelId) -> Done {
        if op.shape() != Shape::Target {
            return Err(AssembleError::Operand);
        }
        let (takes, leaves) = op.effect();
        self.follow(takes, leaves)?;
        let (here, depth) = (self.here(), self.depth);
        let state = self.state(label)?;
        if state.depth.is_some() && state.depth != depth {
            return Err(AssembleError::Join(here));
        }
        state.depth = depth;
        state.used = true;
        let [low, middle, high, _] = label.0.to_le_bytes();
        self.write(op, &[low, middle, high])
    }

    /// Makes a function known, so that it can be called.
    ///
    /// # Errors
    /// Too many functions or arguments.
    pub fn declare(&mut self, arguments: usize) -> Result<FunctionId, AssembleError> {
        if arguments > ARGUMENTS {
            return Err(AssembleError::TooManyArguments);
        }
        let entry = self.functions.get_mut(self.function_count);
        let entry = entry.filter(|_| self.function_count < FUNCTIONS);
        *entry.ok_or(AssembleError::FunctionsFull)? = Function {
            arguments: arguments as u8,
            frame_bytes: 8 * arguments as u16,
            registers: arguments as u8,
            ..Function::default()
        };
        let id = FunctionId(self.function_count as u8);
        self.function_count += 1;
        Ok(id)
    }

    /// Ends what came before and begins a function; in the order of their declarations.
    ///
    /// # Errors
    /// It is not this function's turn.
    pub fn begin(&mut self, function: FunctionId) -> Done {
        let here = self.here();
        let entry = self.functions.get_mut(self.begun);
        if usize::from(function.0) != self.begun || self.begun >= self.function_count {
            return Err(AssembleError::Missing);
        }
        entry.ok_or(AssembleError::Missing)?.start = here;
        self.begun += 1;
        self.depth = Some(0);
        Ok(())
    }

    /// Says how large a function's frame is, its arguments included: at any time.
    ///
    /// # Errors
    /// Larger than [`FRAME_BYTES`].
    pub fn set_frame_bytes(&mut self, function: FunctionId, bytes: usize) -> Done {
        if bytes > FRAME_BYTES {
            return Err(AssembleError::VariablesFull);
        }
        let entry = self.functions.get_mut(usize::from(function.0));
        let entry = entry.ok_or(AssembleError::Missing)?;
        entry.frame_bytes = (bytes as u16).max(8 * u16::from(entry.registers));
        Ok(())
    }

    /// Says how many of a function's variables are in registers, its arguments among them: before it
    /// begins, and the frame is at least as large.
    ///
    /// # Errors
    /// More than [`REGISTER_VARIABLES`].
    pub fn set_frame_registers(&mut self, function: FunctionId, count: usize) -> Done {
        if count > REGISTER_VARIABLES {
            return Err(AssembleError::VariablesFull);
        }
        let entry = self.functions.get_mut(usize::from(function.0));
        let entry = entry.ok_or(AssembleError::Missing)?;
        entry.registers = entry.arguments.max(count as u8);
        entry.frame_bytes = entry.frame_bytes.max(8 * u16::from(entry.registers));
        Ok(())
    }

    /// Says how many of the main part's variables are in registers: the locals are at least as large.
    ///
    /// # Errors
    /// More than [`REGISTER_VARIABLES`].
    pub fn set_local_registers(&mut self, count: usize) -> Done {
        if count > REGISTER_VARIABLES {
            return Err(AssembleError::VariablesFull);
        }
        self.main_registers = count as u8;
        self.local_bytes = self.local_bytes.max(8 * count);
        Ok(())
    }

    /// Says how many bytes of locals there are: at any time.
    ///
    /// # Errors
    /// More than [`LOCAL_BYTES`].
    pub fn set_local_bytes(&mut self, bytes: usize) -> Done {
        if bytes > LOCAL_BYTES {
            return Err(AssembleError::VariablesFull);
        }
        self.local_bytes = bytes.max(8 * usize::from(self.main_registers));
        Ok(())
    }

    /// Calls a function; its arguments are on the stack, first one lowest.
    ///
    /// # Errors
    /// It is not declared.
    pub fn call(&mut self, function: FunctionId) -> Done {
        let entry = self.functions.get(usize::from(function.0));
        let arguments = entry.ok_or(AssembleError::Missing)?.arguments;
        self.follow(arguments, 1)?;
        self.write(Op::Call, &[function.0])
    }
}
