//! Messages on their way: kept beside the queue, so that what is sorted there stays small.

use twinhub_model::Incarnation;
use twinhub_redundancy::Message;

/// Where a message lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter(u32);

/// All messages on their way. What goes to several, or arrives twice, is kept once.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    letters: Vec<Kept>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Kept {
    message: Message,
    /// How often it has yet to arrive.
    left: u32,
}

impl Letters {
    /// Keeps a message that is expected somewhere, in exchange for one that arrived everywhere.
    pub(crate) fn put(&mut self, message: &mut Message) -> Letter {
        let place = self.free.pop().unwrap_or_else(|| {
            self.letters.push(Kept { message: NOTHING, left: 0 });
            u32::try_from(self.letters.len() - 1).expect("the queue would have stopped long before")
        });
        let kept = &mut self.letters[place as usize];
        std::mem::swap(&mut kept.message, message);
        kept.left = 0;
        Letter(place)
    }

    /// It will arrive once more.
    pub(crate) fn expect(&mut self, letter: Letter) {
        self.letters[letter.0 as usize].left += 1;
    }

    /// What lies there.
    pub(crate) fn read(&self, letter: Letter) -> &Message {
        &self.letters[letter.0 as usize].message
    }

    /// It arrived.
    pub(crate) fn discard(&mut self, letter: Letter) {
        let kept = &mut self.letters[letter.0 as usize];
        kept.left -= 1;
        if kept.left == 0 {
            self.free.push(letter.0);
        }
    }
}

/// What lies where nothing was kept yet.
const NOTHING: Message = Message::Bye { incarnation: Incarnation(0) };
