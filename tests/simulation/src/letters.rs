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

    /// What lies there.
    pub(crate) fn read(&self, letter: Letter) -> Option<&Message> {
        self.letters.get(letter.0 as usize)?.as_ref()
    }

    /// It was read, and its place is free.
    pub(crate) fn discard(&mut self, letter: Letter) {
        if self.letters.get_mut(letter.0 as usize).and_then(Option::take).is_some() {
            self.free.push(letter.0);
        }
    }
}
