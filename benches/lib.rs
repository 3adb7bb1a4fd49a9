//! The benchmarks of the workspace. They are listed, with what they measured, in `README.md`.
