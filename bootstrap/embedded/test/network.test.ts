import { expect, it } from "vitest";
import { bridge, nodes, podCIDR } from "../src/layout.ts";
import { hostRules, namespaceName, ruleArguments } from "../src/network.ts";

it("gives what leaves the machine the machine's address, of pods and of nodes", () => {
  expect(hostRules.map((rule) => ruleArguments("-A", rule).join(" "))).toEqual(
    [podCIDR, bridge.cidr].map(
      (source) =>
        `-w -t nat -A POSTROUTING -s ${source} ! -o ${bridge.name} -m comment --comment logging-platform -j MASQUERADE`,
    ),
  );
});

it("asks for, adds and deletes one and the same rule", () => {
  const rule = hostRules[0] ?? [];
  const [asked, added, deleted] = (["-C", "-A", "-D"] as const).map((verb) => ruleArguments(verb, rule));
  const without = (args: string[] = [], verb: string): string[] => args.filter((arg) => arg !== verb);
  expect(asked).toContain("-C");
  expect(without(asked, "-C")).toEqual(without(added, "-A"));
  expect(without(asked, "-C")).toEqual(without(deleted, "-D"));
});

it("keeps nodes apart: names, addresses, pod networks", () => {
  expect(nodes.length).toBeGreaterThanOrEqual(2);
  const views = [namespaceName, (n) => n.address, (n) => n.podCIDR] as ((n: (typeof nodes)[0]) => string)[];
  for (const view of views) expect(new Set(nodes.map(view)).size).toBe(nodes.length);
  expect(nodes.map((node) => node.address)).not.toContain(bridge.address);
  for (const { name } of nodes) expect(`lp-${name}`.length).toBeLessThan(16);
});
