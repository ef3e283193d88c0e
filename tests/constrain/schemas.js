/*
 * schemas.js - JSON schemas at random, of all that dsr1 supports
 *
 * Most can be fulfilled; what they say together may also be impossible, or oneOf
 * may overlap, which dsr1 must then say.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
"use strict";

/* mulberry32 */
function generator(seed) {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = state;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

const NAMES = ["a", "b", "id", "name", "value", "tags", "päth", "with space", "quo\"te", "back\\slash", "émoji😀", "",
               "new\nline", "x-y", "A", "ab", "abc", "colour", "0", "ö", "名前", "items", "type"];
const PATTERNS = ["^[a-z]{2,8}$", "^\\d{3}-\\d{4}$", "foo|bar", "^(red|green|blue)$", "[A-Z][0-9]+$", "^[^\"\\\\]*$",
                  "^\\S+$", "é", "^.{3,}$", "^(a|b)*c$", "^[\\w.]+@[\\w.]+$", "^\\s*$", "^$", "\\\\", "\"", "\\n",
                  "^[\\s\\S]{0,9}$", "^(?:x{1,3}y)+$", "[^\\x00-\\x7f]", "^\\u{1F600}*$", "^[a-f0-9]{4}(-[a-f0-9]{4}){2}$",
                  "^a?b?c?d?$", "[\\t/]", "^(\\w+ ){2,4}\\w+$"];
const FORMATS = ["date", "time", "date-time", "email", "uuid", "ipv4", "ipv6", "hostname", "uri"];
const STRINGS = ["", "a", "red", "foo bar", "quo\"te", "back\\slash", "tab\t", "\u0001", "é", "😀", "日本", "</s>", "null", "1"];

class Schemas {
    constructor(seed) {
        this.random = generator(seed);
    }
    below(n) {
        return Math.floor(this.random() * n);
    }
    chance(p) {
        return this.random() < p;
    }
    pick(list) {
        return list[this.below(list.length)];
    }
    some(list, most) {
        const copy = [...list];
        const chosen = [];
        for (let n = this.below(most + 1); n > 0 && copy.length; n--)
            chosen.push(copy.splice(this.below(copy.length), 1)[0]);
        return chosen;
    }
    decimal() {
        const places = this.below(4);
        return Number((this.random() * 10 ** this.below(6) * (this.chance(0.4) ? -1 : 1)).toFixed(places));
    }
    value(depth) {
        switch (this.below(depth > 0 ? 7 : 5)) {
        case 0: return null;
        case 1: return this.chance(0.5);
        case 2: return this.below(2000) - 1000;
        case 3: return this.decimal();
        case 4: return this.pick(STRINGS);
        case 5: return Array.from({length: this.below(3)}, () => this.value(depth - 1));
        default: return Object.fromEntries(this.some(NAMES, 3).map(name => [name, this.value(depth - 1)]));
        }
    }
    string() {
        const schema = {type: "string"};
        if (this.chance(0.35))
            schema.pattern = this.pick(PATTERNS);
        else if (this.chance(0.35))
            schema.format = this.pick(FORMATS);
        if (this.chance(0.3))
            schema.minLength = this.below(6);
        if (this.chance(0.4))
            schema.maxLength = (schema.minLength || 0) + this.below(40);
        return schema;
    }
    number() {
        const schema = {type: this.chance(0.5) ? "integer" : "number"};
        const low = this.decimal();
        const high = low + Math.abs(this.decimal()) + (this.chance(0.9) ? 1 : 0);
        if (this.chance(0.5))
            schema[this.chance(0.7) ? "minimum" : "exclusiveMinimum"] = low;
        if (this.chance(0.5))
            schema[this.chance(0.7) ? "maximum" : "exclusiveMaximum"] = Number(high.toFixed(3));
        if (this.chance(0.25))
            schema.multipleOf = this.pick([1, 2, 3, 5, 7, 10, 60, 0.5, 0.25, 0.1, 0.01, 1.5, 100]);
        return schema;
    }
    object(depth) {
        const schema = {type: "object"};
        const names = this.some(NAMES, this.pick([0, 2, 3, 6]));
        if (names.length || this.chance(0.5))
            schema.properties = Object.fromEntries(names.map(name => [name, this.schema(depth - 1)]));
        if (this.chance(0.6))
            schema.required = this.chance(0.5) ? names : this.some(names, names.length);
        if (this.chance(0.1))
            schema.required = [...(schema.required || []), this.pick(NAMES)].filter((x, i, all) => all.indexOf(x) === i);
        if (this.chance(0.5))
            schema.additionalProperties = this.chance(0.6) ? false : this.chance(0.3) ? true : this.schema(depth - 1);
        if (this.chance(0.1))
            schema.minProperties = this.below(3);
        if (this.chance(0.1))
            schema.maxProperties = this.below(5);
        return schema;
    }
    array(depth) {
        const schema = {type: "array"};
        if (this.chance(0.8))
            schema.items = this.schema(depth - 1);
        if (this.chance(0.25))
            schema.prefixItems = Array.from({length: 1 + this.below(3)}, () => this.schema(depth - 1));
        if (schema.prefixItems && this.chance(0.3))
            schema.items = false;
        if (this.chance(0.4))
            schema.minItems = this.below(4);
        if (this.chance(0.5))
            schema.maxItems = (schema.minItems || 0) + this.below(5);
        if (schema.maxItems <= 1 && this.chance(0.5))
            schema.uniqueItems = true;
        return schema;
    }
    tagged(depth) {
        const tags = this.some(STRINGS, 4);
        if (tags.length < 2)
            tags.splice(0, tags.length, "one", "two");
        return {oneOf: tags.map(tag => {
            const schema = this.object(depth);
            delete schema.maxProperties;
            schema.properties = {kind: this.chance(0.5) ? {const: tag} : {enum: [tag]}, ...schema.properties};
            schema.required = ["kind", ...(schema.required || [])];
            return schema;
        })};
    }
    all(depth) {
        switch (this.below(4)) {
        case 0: {
            const a = this.object(depth), b = this.object(depth);
            delete a.additionalProperties;
            delete b.additionalProperties;
            return {allOf: [a, b]};
        }
        case 1: return {allOf: [{type: "string", maxLength: 30}, {pattern: this.pick(PATTERNS)}, {minLength: this.below(3)}]};
        case 2: return {type: ["number", "string"], allOf: [{minimum: -5}, {maximum: 90.5}, {type: ["integer", "string"]}]};
        default: return {...this.object(depth), allOf: [{required: this.some(NAMES, 2)}]};
        }
    }
    schema(depth) {
        if (this.chance(0.03))
            return this.chance(0.9) ? {} : true;
        const kind = this.below(depth > 0 ? 16 : 8);
        switch (kind) {
        case 0: case 1: return this.string();
        case 2: case 3: return this.number();
        case 4: return {type: this.pick(["boolean", "null", "string", "integer"]), title: "a title", default: null};
        case 5: return {enum: Array.from({length: 1 + this.below(5)}, () => this.value(1))};
        case 6: return {const: this.value(2)};
        case 7: return {type: this.pick([["string", "null"], ["integer", "boolean", "null"], ["number", "string"]]),
                        maxLength: 12, minimum: 0};
        case 8: case 9: case 10: return this.object(depth);
        case 11: case 12: return this.array(depth);
        case 13: return {anyOf: Array.from({length: 2 + this.below(2)}, () => this.schema(depth - 1))};
        case 14: return this.chance(0.5) ? this.tagged(depth - 1) : this.all(depth - 1);
        default: return {$ref: this.pick(["#/$defs/tree", "#/$defs/list", "#/$defs/leaf~1a"])};
        }
    }
    root() {
        const schema = this.schema(4);
        if (typeof schema === "object")
            schema.$defs = {
                tree: {type: "object", properties: {value: {$ref: "#/$defs/leaf~1a"}, children: {type: "array", items: {$ref: "#/$defs/tree"}}},
                       required: ["value"], additionalProperties: false},
                list: {anyOf: [{type: "null"}, {type: "array", prefixItems: [this.number(), {$ref: "#/$defs/list"}],
                                                minItems: 2, items: false}]},
                "leaf/a": this.string(),
            };
        return schema;
    }
}

module.exports = {Schemas};
