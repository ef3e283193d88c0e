/*
 * judge.js - answers to random schemas, judged by ajv
 *
 *     node judge.js SAMPLE MODEL N SEED
 *
 * Makes N schemas, has SAMPLE write answers to them, and validates every one. TAP.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
"use strict";
const {spawnSync} = require("node:child_process");
const Ajv = require("ajv/dist/2020").default;
const addFormats = require("ajv-formats").default;
const {Schemas} = require("./schemas.js");

const [sample, model, count, seed] = process.argv.slice(2);
const ANSWERS = 3;

function makeSchemas(n) {
    const schemas = [];
    for (let i = 0; i < n; i++)
        schemas.push(new Schemas(Number(seed) * 1000003 + i).root());
    return schemas;
}

function validator(schema) {
    const ajv = new Ajv({strict: false, multipleOfPrecision: 9, allErrors: false});
    addFormats(ajv);
    return ajv.compile(schema);
}

/* What is wrong with an answer, or null. */
function complaint(validate, text) {
    let value;
    try {
        value = JSON.parse(text);
    } catch (error) {
        return error.message;
    }
    if (/\\u0000/.test(text))
        return "it has U+0000 in it, which jsonb refuses";
    if (/[\ud800-\udfff]/.test(text.replace(/[\ud800-\udbff][\udc00-\udfff]/g, "")))
        return "it has half a character in it";
    return validate(value) ? null : JSON.stringify(validate.errors);
}

const schemas = makeSchemas(Number(count));
const run = spawnSync(sample, [model, seed, String(ANSWERS)], {
    input: schemas.map(schema => JSON.stringify(schema)).join("\n") + "\n", maxBuffer: 1 << 30});
const lines = run.stdout.toString().split("\n").filter(line => line);
const validators = [];
const counts = {answers: 0, bad: 0, tokens: 0};
const refused = {};
const distinct = new Set();
for (const line of lines) {
    const [number, what, ...rest] = line.split("\t");
    const schema = schemas[Number(number)];
    if (what !== "answer") {
        (refused[what] = refused[what] || []).push([number, rest.join(" ")]);
        continue;
    }
    const text = rest.slice(2).join("\t");
    validators[number] = validators[number] || validator(schema);
    counts.answers++;
    counts.tokens += Number(rest[0]);
    distinct.add(`${number} ${text}`);
    const wrong = complaint(validators[number], text) || (Number(rest[0]) > Number(rest[1]) ? "over its budget" : null);
    if (wrong && counts.bad++ < 10)
        console.log(`# schema ${number}: ${JSON.stringify(schema)}\n# answer: ${text}\n# ${wrong}`);
}

function claim(holds, what) {
    console.log(`${holds ? "ok" : "not ok"} - ${what}`);
    process.exitCode = holds ? process.exitCode : 1;
}

const unfulfilled = refused.argument || [], unsupported = refused.unsupported || [];
const others = Object.entries(refused).filter(([what]) => what !== "argument" && what !== "unsupported");
for (const [number, why] of [...unfulfilled.filter(([, text]) => !/nothing fulfils/.test(text)), ...others.flatMap(([, list]) => list),
                             ...unsupported.filter(([, text]) => !/oneOf|minProperties/.test(text))].slice(0, 10))
    console.log(`# schema ${number}: ${why}: ${JSON.stringify(schemas[number])}`);
claim(run.status === 0 && lines.length > 0, `sampling ends well (${run.stderr || "status " + run.status})`);
claim(counts.bad === 0, `${counts.answers} answers to ${validators.filter(Boolean).length} of ${schemas.length} schemas ` +
    `parse and validate (${distinct.size} distinct, ${counts.tokens} tokens)`);
claim(unfulfilled.every(([, why]) => /nothing fulfils/.test(why)), `${unfulfilled.length} schemas that nothing fulfils are told so`);
claim(unsupported.every(([, why]) => /oneOf|minProperties/.test(why)), `${unsupported.length} schemas are beyond what is supported`);
claim(others.length === 0, "nothing else goes wrong");
claim(validators.filter(Boolean).length > 0.9 * schemas.length, "nine of ten schemas have answers");
