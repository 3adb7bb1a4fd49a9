//! The benchmarks of the workspace. They are listed, with what they measured, in `README.md`.
//!
//! What they have in common is criterion; this library holds the examples of the front pages, so that
//! these are tested too.

/// The examples of the front page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;

/// The examples of the front page in Chinese.
#[cfg(doctest)]
#[doc = include_str!("../README.zh-CN.md")]
struct FrontPageInChinese;
