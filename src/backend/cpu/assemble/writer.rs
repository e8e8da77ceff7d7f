//! Instructions on their way to bytes.

use iced_x86::{BlockEncoder, BlockEncoderOptions, Code, IcedError, Instruction, InstructionBlock, Register};

/// The address of the first instruction; labels are smaller.
const FIRST_UNNAMED: u64 = 16;

/// Instructions in order.
#[derive(Default)]
pub struct Writer {
    code: Vec<Instruction>,
    /// The label of the next instruction.
    label: Option<u64>,
}

impl Writer {
    /// Appends an instruction.
    ///
    /// # Panics
    /// When its operands do not fit its code, which is a mistake of ours.
    pub fn push(&mut self, instruction: Result<Instruction, IcedError>) {
        let mut instruction = instruction.unwrap_or_else(|error| unreachable!("operands fit their code: {error}"));
        // Each needs an address of its own, so that branches find labels.
        instruction.set_ip(self.label.take().unwrap_or(FIRST_UNNAMED + self.code.len() as u64));
        self.code.push(instruction);
    }

    /// Gives the next instruction a label, which stands for its address until the code is laid out.
    pub fn label(&mut self, label: u64) {
        self.label = Some(label);
    }

    /// Returns from a function that has `room` bytes on the stack, and encodes it.
    pub fn finish(mut self, room: usize) -> Vec<u8> {
        let move_stack = |code: Code, code_at: &mut Vec<Instruction>, at: usize, ip: u64| {
            let moved = Instruction::with2(code, Register::RSP, room as i32);
            let mut moved = moved.unwrap_or_else(|error| unreachable!("operands fit their code: {error}"));
            moved.set_ip(ip);
            code_at.insert(at, moved);
        };
        if room > 0 {
            let end = self.code.len();
            let ip = FIRST_UNNAMED + end as u64;
            move_stack(Code::Add_rm64_imm32, &mut self.code, end, ip);
            move_stack(Code::Sub_rm64_imm32, &mut self.code, 0, ip + 1);
        }
        self.push(Ok(Instruction::with(Code::Retnq)));
        let last = self.code.len() - 1;
        self.code[last].set_ip(u64::from(u32::MAX));
        let block = InstructionBlock::new(&self.code, 0);
        let encoded = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE);
        encoded.unwrap_or_else(|error| unreachable!("every instruction has a code: {error}")).code_buffer
    }
}
