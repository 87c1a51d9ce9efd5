import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { hasSysResource, inspectMachine, upstreamResolvers } from "../src/machine.ts";

const status = (capEff: string): string =>
  `Name:\tnode\nCapInh:\t0000000000000000\nCapPrm:\tffffffffffffffff\nCapEff:\t${capEff}\nCapBnd:\tffffffffffffffff\n`;

it.each([
  ["all of a real root's", "000001ffffffffff", true],
  ["a container's default", "00000000a80425fb", false],
  ["CAP_SYS_RESOURCE alone", "0000000001000000", true],
  ["all but CAP_SYS_RESOURCE", "000001fffeffffff", false],
  ["none", "0000000000000000", false],
])("reads CAP_SYS_RESOURCE out of the capabilities: %s", (_, capEff, has) => {
  expect(hasSysResource(status(capEff))).toBe(has);
});

it("takes a status without capabilities for one that lacks them", () => {
  expect(hasSysResource("Name:\tnode\nCapPrm:\tffffffffffffffff\n")).toBe(false);
});

it("says which cgroups this machine has, as the mounted file system does", () => {
  const mounted = execFileSync("stat", ["-f", "-c", "%T", "/sys/fs/cgroup"], { encoding: "utf8" }).trim();
  expect(inspectMachine().cgroups).toBe(mounted === "cgroup2fs" ? "v2" : "v1");
});

it("sends pods to the host's name servers", () => {
  expect(upstreamResolvers(["# nameserver 9.9.9.9\nsearch example\nnameserver 10.0.0.2\n"])).toEqual([
    "10.0.0.2",
  ]);
  expect(upstreamResolvers(["  nameserver\t10.0.0.2\nnameserver fd00::2 # second\n"])).toEqual([
    "10.0.0.2",
    "fd00::2",
  ]);
});

it("passes over resolvers on the host's loopback", () => {
  const stub = "nameserver 127.0.0.53\noptions edns0\n";
  expect(upstreamResolvers([`${stub}nameserver ::1\nnameserver 10.0.0.2\n`])).toEqual(["10.0.0.2"]);
  expect(upstreamResolvers([stub, "nameserver 10.0.0.3\nnameserver 10.0.0.4\n"])).toEqual([
    "10.0.0.3",
    "10.0.0.4",
  ]);
  expect(upstreamResolvers(["nameserver 10.0.0.2\n", "nameserver 10.0.0.3\n"])).toEqual(["10.0.0.2"]);
});

it("finds no name server where there is none but on loopback", () => {
  expect(upstreamResolvers(["nameserver 127.0.0.1\n", "nameserver ::1\n", ""])).toEqual([]);
});
