import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "loadbalancer-"));
vi.stubEnv("STATE_DIR", directory);
const { endpoints, nodes } = await import("../src/layout.ts");
const { haproxyConfig, loadBalancerProgram } = await import("../src/loadbalancer.ts");

afterAll(() => rmSync(directory, { recursive: true }));

const offered = endpoints(8088);
const text = haproxyConfig(offered);
const lines = text.split("\n").map((line) => line.trim());

it("listens on loopback only, once for each endpoint", () => {
  const binds = lines.filter((line) => line.startsWith("bind "));
  expect(binds).toEqual(offered.map(({ port }) => `bind 127.0.0.1:${port}`));
  expect(new Set(binds).size).toBe(offered.length);
  expect(binds).toContain("bind 127.0.0.1:8088");
});

describe.each(offered)("the endpoint $name", ({ name, nodePort, healthPath }) => {
  const section = text.split(/^(?=\S)/m).find((part) => part.startsWith(`listen ${name}\n`)) ?? "";

  it("leads to its NodePort on every node", () => {
    const servers = [...section.matchAll(/^ {2}server (\S+) (\S+)/gm)].map(([, node, address]) => [
      node,
      address,
    ]);
    expect(servers).toEqual(nodes.map((node) => [node.name, `${node.address}:${nodePort}`]));
  });

  it("asks every node for its health", () => {
    expect(section).toContain("  option httpchk\n");
    expect(section).toContain(`  http-check send meth GET uri ${healthPath} ver HTTP/1.1 hdr Host ${name}\n`);
    const servers = section.split("\n").filter((line) => line.startsWith("  server "));
    expect(servers.every((line) => / check( |$)/.test(line))).toBe(true);
  });
});

it("passes a connection on to the other node where one does not answer", () => {
  expect(lines).toEqual(expect.arrayContaining(["option redispatch", "retries 3"]));
  expect(lines.find((line) => line.startsWith("default-server"))).toContain(
    "on-marked-down shutdown-sessions",
  );
});

it("is restarted when its configuration changes", () => {
  const program = loadBalancerProgram(offered);
  const [path = ""] = program.inputs;
  expect(readFileSync(path, "utf8")).toBe(text);
  expect(program.command).toContain(path);
  loadBalancerProgram(endpoints(8089));
  expect(readFileSync(path, "utf8")).toContain("bind 127.0.0.1:8089\n");
});
