import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { freePort } from "./free-port.ts";

const module = new URL("./free-port.ts", import.meta.url).href;
const typescript = ["--import", "tsx", "--input-type=module", "--eval"];

it("is never one that an outgoing connection may take", async () => {
  const [lowest] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s/);
  for (let at = 0; at < 50; at++) expect(await freePort()).toBeLessThan(Number(lowest));
});

it("is given to one test only, also among processes", async () => {
  // Two processes that draw the same numbers, of which there are more than they need.
  const draws = `let turn = 0;
    Math.random = () => (turn++ % 80) / 80;
    const { freePort } = await import(${JSON.stringify(module)});
    const ports = [];
    while (ports.length < 20) ports.push(await freePort());
    console.log(JSON.stringify(ports));
    process.stdin.resume();`;
  const running = [0, 1].map(() =>
    spawn(process.execPath, [...typescript, draws], {
      stdio: ["pipe", "pipe", "inherit"],
    }),
  );
  try {
    const answers = running.map(({ stdout }) => once(createInterface(stdout), "line"));
    const ports = (await Promise.all(answers)).flatMap(([line]) => JSON.parse(line));
    expect(new Set(ports).size).toBe(40);
  } finally {
    for (const { stdin } of running) stdin.end();
  }
});

it("is free on the address that is asked for", async () => {
  // Asked for by a process that has ended, so that nothing but the listener stands against it.
  const ask = `const { freePort } = await import(${JSON.stringify(module)}); console.log(await freePort());`;
  const port = Number(execFileSync(process.execPath, [...typescript, ask], { encoding: "utf8" }));
  const held = createServer().listen(port, "127.0.0.1");
  await once(held, "listening");
  const random = Math.random;
  let turn = 0;
  Math.random = () => (turn++ === 0 ? (port - 15_000 + 0.5) / 15_000 : random());
  try {
    expect(await freePort()).not.toBe(port);
  } finally {
    Math.random = random;
    held.close();
  }
});
