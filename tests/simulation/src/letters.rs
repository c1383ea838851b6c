//! Messages on their way: kept beside the queue, so that what is sorted there stays small.

use twinhub_redundancy::Message;

/// Where a message lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter(u32);

/// All messages on their way.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    letters: Vec<Option<Message>>,
    free: Vec<u32>,
}

impl Letters {
    /// Keeps a message until it arrives.
    pub(crate) fn put(&mut self, message: Message) -> Letter {
        if let Some(place) = self.free.pop() {
            self.letters[place as usize] = Some(message);
            return Letter(place);
        }
        let place = u32::try_from(self.letters.len()).expect("the queue would have stopped long before");
        self.letters.push(Some(message));
        Letter(place)
    }

    /// Hands it out, once.
    pub(crate) fn take(&mut self, letter: Letter) -> Option<Message> {
        let message = self.letters.get_mut(letter.0 as usize)?.take()?;
        self.free.push(letter.0);
        Some(message)
    }
}
