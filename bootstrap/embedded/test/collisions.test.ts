import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { pid } from "node:process";
import { describe, expect, it } from "vitest";
import { follow } from "../../../lib/test/follow.ts";
import {
  diskCollisions,
  kubernetesCollisions,
  memoryCollisions,
  neededGiB,
  neededMemoryGiB,
  overlap,
  ownAddresses,
  parseListeners,
  parseRoutes,
  portCollisions,
  routeCollisions,
} from "../src/collisions.ts";
import { bridge, podCIDR, repository } from "../src/layout.ts";

const whats = (found: { what: string }[]): string[] => found.map(({ what }) => what);

describe("ports", () => {
  it.each([
    ["127.0.0.1", "127.0.0.1"],
    ["0.0.0.0", "0.0.0.0"],
    ["::", "0.0.0.0"],
    ["::1", "::1"],
  ])("are read as the kernel writes them: %s", async (host, address) => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, host, done));
    const { port } = server.address() as { port: number };
    try {
      const texts = ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => readFileSync(path, "utf8"));
      const found = texts.flatMap(parseListeners).filter((listener) => listener.port === port);
      expect(found).toEqual([{ address, port, inode: expect.stringMatching(/^\d+$/) }]);
    } finally {
      server.close();
    }
  });

  const taken = (address: string, port: number): string[] =>
    whats(portCollisions([{ address, port, inode: "1" }], 80));

  it("that the platform listens on are in the way, on its addresses and on all", () => {
    for (const port of [80, 505, 2379, 3000, 6443, 8080, 9090, 10257])
      expect(taken("0.0.0.0", port), `${port}`).not.toEqual([]);
    expect(taken("127.0.0.1", 3000)).toEqual(["another program listens on 127.0.0.1:3000"]);
    expect(taken(bridge.address, 6443)).toEqual([`another program listens on ${bridge.address}:6443`]);
  });

  it("of other addresses and numbers are not", () => {
    expect(taken("192.0.2.1", 80)).toEqual([]);
    expect(taken("0.0.0.0", 22)).toEqual([]);
    expect(taken("127.0.0.1", 6443)).toEqual([]);
    expect(portCollisions([{ address: "0.0.0.0", port: 80, inode: "1" }], 8000)).toEqual([]);
    expect(new Set(ownAddresses(80)).size).toBe(ownAddresses(80).length);
  });
});

describe("routes", () => {
  const text = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
flannel.1\t0001F40A\t0001F40A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
lp0\t0000FA0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
`;

  it("are read as the kernel writes them", () => {
    expect(parseRoutes(text)).toEqual([
      { device: "eth0", network: "0.0.0.0/0" },
      { device: "flannel.1", network: "10.244.1.0/24" },
      { device: "lp0", network: "10.250.0.0/24" },
      { device: "docker0", network: "172.17.0.0/16" },
    ]);
  });

  it("of another cluster are in the way, the platform's own and the default are not", () => {
    expect(whats(routeCollisions(parseRoutes(text)))).toEqual([
      `the platform's network ${podCIDR} overlaps with the route 10.244.1.0/24 of flannel.1`,
    ]);
  });

  it.each([
    ["10.244.0.0/16", "10.244.3.0/24", true],
    ["10.244.3.0/24", "10.0.0.0/8", true],
    ["10.244.0.0/16", "10.245.0.0/16", false],
    ["10.250.0.0/24", "10.250.1.0/24", false],
    ["10.250.0.0/24", "10.250.0.7/32", true],
  ])("%s and %s overlap: %s", (a, b, expected) => {
    expect(overlap(a, b)).toBe(expected);
    expect(overlap(b, a)).toBe(expected);
  });
});

describe("the disk", () => {
  it("is asked for what a build takes only where something is to be built", () => {
    expect(diskCollisions(neededGiB.build, false)).toEqual([]);
    expect(diskCollisions(neededGiB.build - 1, true)).toEqual([]);
    expect(whats(diskCollisions(12, false)).join()).toMatch(
      /^12 GiB are free below \S+, and 30 are needed for a build/,
    );
    expect(whats(diskCollisions(2, true)).join()).toMatch(/^2 GiB are free below \S+, and 6 are needed$/);
  });

  it("is asked for what the README says", () => {
    expect(readFileSync(join(repository, "README.md"), "utf8")).toContain(
      `${neededGiB.build} GiB of free disk`,
    );
  });
});

describe("memory", () => {
  const meminfo = (gibibytes: number): string =>
    `MemTotal:       24681424 kB\nMemFree:  100 kB\nMemAvailable:   ${gibibytes * 1024 ** 2} kB\nBuffers: 1 kB\n`;

  it("is asked for what a build takes only where something is to be built", () => {
    expect(memoryCollisions(meminfo(neededMemoryGiB.build), false)).toEqual([]);
    expect(memoryCollisions(meminfo(neededMemoryGiB.run), true)).toEqual([]);
    expect(whats(memoryCollisions(meminfo(5), false))).toEqual([
      "5.0 GiB of memory are available, and 6 are needed for a build from scratch",
    ]);
    expect(whats(memoryCollisions(meminfo(3.5), true))).toEqual([
      "3.5 GiB of memory are available, and 4 are needed",
    ]);
    // If the kernel does not report memory, that does not count as too little.
    expect(memoryCollisions("", true)).toEqual([]);
  });

  it("shows who has it", async () => {
    const [first] = memoryCollisions(meminfo(1), true);
    expect(await follow(first?.next)).toMatchObject({ exitCode: 0, all: expect.stringContaining("RSS") });
  });

  it("is asked for what the README says", () => {
    expect(readFileSync(join(repository, "README.md"), "utf8")).toContain(
      `${neededMemoryGiB.build} GiB of free memory`,
    );
  });
});

describe("another Kubernetes", () => {
  const process = (program: string, network = "net:[1]") => ({ id: 7, program, network });

  it.each(["kubelet", "k3s-server", "k3s", "kube-apiserver", "kubelite", "flanneld"])(
    "is in the way where its %s runs in the machine's network",
    (program) => {
      const found = kubernetesCollisions([process("bash"), process(program)], "net:[1]");
      expect(whats(found)).toEqual([
        `another Kubernetes, which --context would use, runs on this machine: ${program}, process 7`,
      ]);
    },
  );

  it("is shown by what is next", async () => {
    const [first] = kubernetesCollisions([{ ...process("kubelet"), id: pid }], "net:[1]");
    expect(await follow(first?.next)).toMatchObject({ exitCode: 0, all: expect.stringContaining(`${pid}`) });
  });

  it("is not, in a network of its own, as kind's and the platform's nodes are", () => {
    expect(kubernetesCollisions([process("kubelet", "net:[2]"), process("dockerd")], "net:[1]")).toEqual([]);
  });
});
