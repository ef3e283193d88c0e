// postgres.js - a private PostgreSQL server on a Unix socket, for the tests of the language server
//
// SPDX-License-Identifier: PostgreSQL
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const {spawnSync} = require("node:child_process");

const pgConfig = process.env.PG_CONFIG || "pg_config";
const bin = spawnSync(pgConfig, ["--bindir"], {encoding: "utf8"}).stdout.trim();
const user = process.getuid() === 0 ? process.env.DSR1_TEST_USER || "postgres" : os.userInfo().username;

// PostgreSQL does not run as root.
const asUser = (command, ...args) => process.getuid() === 0 ? ["runuser", ["-u", user, "--", command, ...args]] : [command, args];
const idOf = (what) => Number(spawnSync("id", [what, user], {encoding: "utf8"}).stdout);

class Postgres {
    constructor() {
        this.folder = fs.mkdtempSync(path.join(os.tmpdir(), "dsr1-lsp-pg-"));
        this.data = path.join(this.folder, "data");
        this.user = user;
        this.conninfo = `host=${this.folder} user=${user} dbname=postgres`;
        this.options = `-c listen_addresses='' -c unix_socket_directories=${this.folder} -c fsync=off`;
        this.give(this.folder);
    }

    // A file or folder becomes the server's.
    give(file) {
        if (process.getuid() === 0)
            fs.chownSync(file, idOf("-u"), idOf("-g"));
    }

    run(command, ...args) {
        const [program, all] = asUser(path.join(bin, command), ...args);
        const result = spawnSync(program, all, {encoding: "utf8", cwd: this.folder, stdio: ["ignore", "pipe", "pipe"], timeout: 120000});
        assert.equal(result.status, 0, `${command}: ${result.stdout}${result.stderr}`);
        return result.stdout.trim();
    }

    sql(text, as = user) {
        return this.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d",
                        `host=${this.folder} user=${as} dbname=postgres`, "-c", text);
    }

    init() {
        this.run("initdb", "-D", this.data, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-U", user);
        this.start();
    }

    control(action, ...more) {
        return this.run("pg_ctl", "-D", this.data, "-w", "-l", path.join(this.folder, "log"), ...more, action);
    }

    start() {
        return this.control("start", "-o", this.options);
    }

    close() {
        spawnSync(...asUser(path.join(bin, "pg_ctl"), "-D", this.data, "-m", "immediate", "stop"), {cwd: this.folder});
        fs.rmSync(this.folder, {recursive: true, force: true});
    }
}

module.exports = {Postgres, asUser, bin, pgConfig};
