//! Starts dsr1-lsp, which must be on the path. SPDX-License-Identifier: PostgreSQL
use zed_extension_api::{self as zed, Command, LanguageServerId, Result, Worktree};

struct Dsr1;

impl zed::Extension for Dsr1 {
    fn new() -> Self {
        Dsr1
    }

    fn language_server_command(&mut self, _: &LanguageServerId, worktree: &Worktree) -> Result<Command> {
        let command = worktree.which("dsr1-lsp").ok_or("dsr1-lsp is not on the path")?;
        Ok(Command { command, args: vec![], env: worktree.shell_env() })
    }
}

zed::register_extension!(Dsr1);
