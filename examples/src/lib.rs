//! Nothing but the programs that the READMEs of the repository show, compiled as they are copied.

/// The page that newcomers read first.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct English;

/// The same page in Chinese.
#[cfg(doctest)]
#[doc = include_str!("../../README.zh-CN.md")]
struct Chinese;
