import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../../lib/failure.ts";
import { installed } from "../../../lib/test/debian.ts";
import { slow } from "../../../lib/test/long.ts";
import { bridge, nodes, podCIDR } from "../src/layout.ts";
import { hostRules, namespaceName, ruleArguments } from "../src/network.ts";

const written = hostRules.map((rule) => ruleArguments("-I", rule).join(" "));

it("gives what leaves the machine the machine's address, of pods and of nodes", () => {
  expect(written.filter((rule) => rule.includes("MASQUERADE"))).toEqual(
    [podCIDR, bridge.cidr].map(
      (source) =>
        `-w -t nat -I POSTROUTING -s ${source} ! -o ${bridge.name} -m comment --comment logging-platform -j MASQUERADE`,
    ),
  );
});

describe("in a network of three machines", slow, () => {
  // `machine` has the platform's bridge, with `node` behind it. `neighbour` is another machine.
  const names = ["neighbour", "machine", "node"].map((name) => `lp-test-${name}-${process.pid}`);
  const [neighbour = "", machine = "", node = ""] = names;
  const ip = (...args: string[]) => execa("ip", args);
  const inside = (name: string, ...command: string[]) =>
    execa("ip", ["netns", "exec", name, ...command], { reject: false, timeout: 20_000 });
  const answers = async (from: string, address: string, port: number): Promise<boolean> =>
    !(await inside(from, "timeout", "2", "bash", "-c", `exec 3<>/dev/tcp/${address}/${port}`)).failed;
  const listening: { kill: () => boolean }[] = [];

  async function link(
    a: string,
    nameA: string,
    addressA: string,
    b: string,
    addressB: string,
  ): Promise<void> {
    await ip("link", "add", nameA, "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b);
    for (const [where, name, address] of [
      [a, nameA, addressA],
      [b, "eth0", addressB],
    ] as const) {
      await ip("-n", where, "address", "add", address, "dev", name);
      await ip("-n", where, "link", "set", name, "up");
      await ip("-n", where, "link", "set", "lo", "up");
    }
  }

  beforeAll(async () => {
    installed("iptables");
    for (const name of names) await ip("netns", "add", name);
    await link(machine, bridge.name, `${bridge.address}/24`, node, "10.250.0.11/24");
    await link(machine, "lan0", "192.0.2.1/24", neighbour, "192.0.2.2/24");
    for (const name of [neighbour, node])
      await ip("-n", name, "route", "add", "default", "via", name === node ? bridge.address : "192.0.2.1");
    await inside(machine, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
    // Docker sets this policy.
    await inside(machine, "iptables", "-P", "FORWARD", "DROP");
    const serve = "require('net').createServer((s) => s.end()).listen(Number(process.argv[1]))";
    for (const [name, port] of [
      [machine, 6443],
      [node, 10250],
      [neighbour, 8000],
    ] as const)
      listening.push(
        execa("ip", ["netns", "exec", name, process.execPath, "-e", serve, `${port}`], { reject: false }),
      );
    await until("the listeners", 20, async () =>
      (await answers(node, "10.250.0.11", 10250)) ? undefined : "silent",
    );
    await until("the listeners", 20, async () =>
      (await answers(machine, "127.0.0.1", 6443)) ? undefined : "silent",
    );
    await until("the listeners", 20, async () =>
      (await answers(neighbour, "127.0.0.1", 8000)) ? undefined : "silent",
    );
  });

  afterAll(async () => {
    for (const child of listening) child.kill();
    for (const name of names) await execa("ip", ["netns", "delete", name], { reject: false });
  });

  it("a neighbour reaches nothing of the platform, and the platform reaches what it asks", async () => {
    const reached = async (): Promise<Record<string, boolean>> => ({
      "neighbour to API server": await answers(neighbour, bridge.address, 6443),
      "neighbour to node": await answers(neighbour, "10.250.0.11", 10250),
      "machine to API server": await answers(machine, bridge.address, 6443),
      "machine to node": await answers(machine, "10.250.0.11", 10250),
      "node to API server": await answers(node, bridge.address, 6443),
      "node to neighbour": await answers(node, "192.0.2.2", 8000),
    });
    expect(await reached()).toMatchObject({ "neighbour to API server": true, "node to neighbour": false });
    for (const rule of hostRules) {
      const { failed, stderr } = await inside(machine, "iptables", ...ruleArguments("-I", rule));
      expect([failed, stderr]).toEqual([false, ""]);
    }
    expect(await reached()).toEqual({
      "neighbour to API server": false,
      "neighbour to node": false,
      "machine to API server": true,
      "machine to node": true,
      "node to API server": true,
      "node to neighbour": true,
    });
    for (const rule of hostRules) {
      expect((await inside(machine, "iptables", ...ruleArguments("-C", rule))).failed).toBe(false);
      expect((await inside(machine, "iptables", ...ruleArguments("-D", rule))).failed).toBe(false);
      expect((await inside(machine, "iptables", ...ruleArguments("-C", rule))).failed).toBe(true);
    }
  });
});

it("keeps nodes apart: names, addresses, pod networks", () => {
  expect(nodes.length).toBeGreaterThanOrEqual(2);
  const views = [namespaceName, (n) => n.address, (n) => n.podCIDR] as ((n: (typeof nodes)[0]) => string)[];
  for (const view of views) expect(new Set(nodes.map(view)).size).toBe(nodes.length);
  expect(nodes.map((node) => node.address)).not.toContain(bridge.address);
  for (const { name } of nodes) expect(`lp-${name}`.length).toBeLessThan(16);
});
