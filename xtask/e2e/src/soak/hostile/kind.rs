//! What hostile clients do.

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Opens connections and says nothing.
    Silent,
    /// Asks, reads the answer, and keeps the connection.
    Idle,
    HalfHead,
    TrickledHead,
    EndlessHead,
    EndlessBody,
    HugeKey,
    Garbage,
    /// Asks for large values, and never reads them.
    NeverReads,
    ReadsSlowly,
    /// Closes its sending half once it has asked, and waits for the answer.
    HalfClosed,
    /// Asks many times at once, reads some of the answers, and is gone.
    Pipelined,
    /// Asks, and resets the connection.
    Vanishes,
}

impl Kind {
    /// Everything that there is.
    pub(super) const ALL: [Self; 13] = [
        Self::Silent,
        Self::Idle,
        Self::HalfHead,
        Self::TrickledHead,
        Self::EndlessHead,
        Self::EndlessBody,
        Self::HugeKey,
        Self::Garbage,
        Self::NeverReads,
        Self::ReadsSlowly,
        Self::HalfClosed,
        Self::Pipelined,
        Self::Vanishes,
    ];
}
