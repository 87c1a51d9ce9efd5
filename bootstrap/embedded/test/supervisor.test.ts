import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import type { Program } from "../src/supervisor.ts";

const directory = mkdtempSync(join(tmpdir(), "supervisor-"));
vi.stubEnv("STATE_DIR", directory);
const { otherSections, supervisorConfig } = await import("../src/supervisor.ts");

afterAll(() => rmSync(directory, { recursive: true }));

const program = (name: string, ...command: string[]): Program => ({ name, command, inputs: [] });

// This reads a configuration as supervisord does: comments first, then %-expansion, then words as in a shell.
const reader = `
import configparser, json, shlex, sys
parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
parser.read_string(sys.stdin.read())
sections = {s: {k: v % {} for k, v in parser.items(s)} for s in parser.sections()}
print(json.dumps([[s, v, shlex.split(v.get("command", ""))] for s, v in sections.items()]))
`;
type Section = [name: string, values: Record<string, string>, command: string[]];
const parse = (text: string): Section[] =>
  JSON.parse(execFileSync("python3", ["-c", reader], { input: text, encoding: "utf8" })) as Section[];
const programs = (text: string): Section[] => parse(text).filter(([name]) => name.startsWith("program:"));

it("hands every argument over as it is", () => {
  const command = [
    "/bin/tool",
    "--plain=a,b:c/d",
    "100%",
    "%(here)s",
    "two words",
    "it's",
    'a "quote"',
    "$HOME `x`",
    "back\\slash",
    "semi;colon",
    "*",
    "",
  ];
  expect(programs(supervisorConfig([program("tool", ...command)]))[0]?.[2]).toEqual(command);
});

it("keeps the other programs where some are brought up besides", () => {
  const before = supervisorConfig(["etcd", "registry", "registry-push"].map((name) => program(name, name)));
  const others = otherSections(before, ["registry"]);
  const text = [supervisorConfig([program("registry", "other")]), ...others].join("\n");
  expect(programs(text).map(([name, , command]) => [name, ...command])).toEqual([
    ["program:registry", "other"],
    ["program:etcd", "etcd"],
    ["program:registry-push", "registry-push"],
  ]);
  expect(otherSections("", ["registry"])).toEqual([]);
});

it("has the programs in the given order, each with a log of its own, and restarts them", () => {
  const sections = programs(
    supervisorConfig([
      program("etcd", "e"),
      { ...program("api", "a"), stopSeconds: 75 },
      program("proxy", "p"),
    ]),
  );
  expect(sections.map(([name]) => name)).toEqual(["program:etcd", "program:api", "program:proxy"]);
  expect(sections.map(([, values]) => values.stdout_logfile)).toEqual(
    ["etcd", "api", "proxy"].map((name) => join(directory, "log", `${name}.log`)),
  );
  expect(sections.map(([, { autostart, autorestart }]) => [autostart, autorestart])).toEqual(
    Array(3).fill(["true", "true"]),
  );
  expect(sections.map(([, { stopwaitsecs }]) => stopwaitsecs)).toEqual(["15", "75", "15"]);
});

it("is controlled through a socket in the state directory that only root may use", () => {
  const sections = Object.fromEntries(parse(supervisorConfig([])).map(([name, values]) => [name, values]));
  const socket = join(directory, "supervisor", "supervisord.sock");
  expect(sections.unix_http_server).toEqual({ file: socket, chmod: "0700" });
  expect(sections.supervisorctl?.serverurl).toBe(`unix://${socket}`);
  expect(Object.keys(sections)).not.toContain("inet_http_server");
});

describe("a program's inputs", () => {
  const file = (name: string): string => join(directory, name);
  const config = (...inputs: string[]): string => supervisorConfig([{ ...program("tool", "tool"), inputs }]);
  const withoutDigest = (text: string): string => text.replace(/INPUTS="[0-9a-f]{16}"/, "");

  it("change its section when their content changes, and nothing else in it", () => {
    writeFileSync(file("a"), "one");
    writeFileSync(file("b"), "same");
    const before = config(file("a"), file("b"));
    expect(config(file("a"), file("b"))).toBe(before);
    writeFileSync(file("a"), "two");
    const after = config(file("a"), file("b"));
    expect(after).not.toBe(before);
    expect(withoutDigest(after)).toBe(withoutDigest(before));
    expect(withoutDigest(before)).not.toBe(before);
  });

  it("do not change it when a small file is only touched", () => {
    writeFileSync(file("touched"), "one");
    const before = config(file("touched"));
    utimesSync(file("touched"), 1000, 1000);
    expect(config(file("touched"))).toBe(before);
  });

  it("change it when a large file is replaced", () => {
    writeFileSync(file("large"), Buffer.alloc(2_000_000));
    utimesSync(file("large"), 1000, 1000);
    const before = config(file("large"));
    expect(config(file("large"))).toBe(before);
    utimesSync(file("large"), 2000, 2000);
    expect(config(file("large"))).not.toBe(before);
  });

  it("must be there", () => {
    expect(() => config(file("missing"))).toThrow("ENOENT");
  });
});
