/** Finds what the platform would collide with on this machine, before it changes anything. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { modules } from "../../../lib/modules.ts";
import { quoted } from "../../../lib/quoted.ts";
import { platformProcesses } from "./cgroups.ts";
import {
  bridge,
  cacheDirectory,
  endpoints,
  podCIDR,
  pushAddress,
  registryAddress,
  serviceCIDR,
  stateDirectory,
} from "./layout.ts";
import { isBuilt } from "./modules.ts";
import { requireOwn } from "./ownership.ts";

/** Free disk space for a build from scratch, and for a platform whose tools are built. README and doctor say the same. */
export const neededGiB = { build: 30, run: 6 };

/** An obstacle, and the command that shows or removes it. */
export interface Collision {
  what: string;
  next: string;
}

/** A listening socket of the machine: its address, its port and its inode number. */
export interface Listener {
  address: string;
  port: number;
  inode: string;
}

/** A route of the machine: a network such as `10.0.0.0/8` and its device. */
export interface Route {
  network: string;
  device: string;
}

const fromHex = (hex: string): string =>
  (hex.match(/../g) ?? [])
    .reverse()
    .map((byte) => parseInt(byte, 16))
    .join(".");

/** The listening sockets in the text of /proc/net/tcp or tcp6. An IPv6 wildcard counts as 0.0.0.0. */
export function parseListeners(text: string): Listener[] {
  return text.split("\n").flatMap((line) => {
    const [, address = "", port = "", state, inode = ""] =
      /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) (?:\S+ ){2,3}\s*\d+\s+\d+ (\d+)/.exec(line) ?? [];
    if (state !== "0A") return [];
    const mapped = /^0{16}FFFF0000([0-9A-F]{8})$/.exec(address)?.[1];
    const ip = address.length === 8 ? fromHex(address) : mapped ? fromHex(mapped) : ipv6(address);
    return [{ address: ip, port: parseInt(port, 16), inode }];
  });
}

const ipv6 = (hex: string): string =>
  /^0+$/.test(hex) ? "0.0.0.0" : hex === `${"0".repeat(24)}01000000` ? "::1" : hex;

/** The routes in the text of /proc/net/route. */
export function parseRoutes(text: string): Route[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [device, network, , , , , , mask] = line.split("\t");
      if (!device || !network || !mask) return [];
      const bits = [...parseInt(mask, 16).toString(2)].filter((bit) => bit === "1").length;
      return [{ device, network: `${fromHex(network)}/${bits}` }];
    });
}

const number = (address: string): number =>
  address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);

/** True if two networks, written as `10.0.0.0/8`, share an address. */
export function overlap(a: string, b: string): boolean {
  const [[addressA = "", bitsA], [addressB = "", bitsB]] = [a.split("/"), b.split("/")];
  const size = 2 ** (32 - Math.min(Number(bitsA), Number(bitsB)));
  return Math.floor(number(addressA) / size) === Math.floor(number(addressB) / size);
}

/** The addresses that the platform listens on in the machine's own network namespace. */
export function ownAddresses(httpPort: number): string[] {
  return [
    ...[2379, 2380, 10257, 10259].map((port) => `127.0.0.1:${port}`),
    ...endpoints(httpPort).map(({ port }) => `127.0.0.1:${port}`),
    ...[pushAddress, registryAddress, `${bridge.address}:6443`],
  ];
}

/** Listeners that occupy one of the platform's addresses. */
export function portCollisions(listeners: Listener[], httpPort: number): Collision[] {
  return ownAddresses(httpPort).flatMap((own) => {
    const [address, port] = own.split(":");
    const taken = listeners.some(
      (listener) => listener.port === Number(port) && ["0.0.0.0", address].includes(listener.address),
    );
    return taken ? [{ what: `another program listens on ${own}`, next: `ss -ltnp 'sport = :${port}'` }] : [];
  });
}

/** Routes of others, such as another cluster's, that overlap with the platform's networks. */
export function routeCollisions(routes: Route[]): Collision[] {
  return [bridge.cidr, podCIDR, serviceCIDR].flatMap((own) =>
    routes
      .filter(
        ({ device, network }) => device !== bridge.name && !network.endsWith("/0") && overlap(own, network),
      )
      .map(({ device, network }) => ({
        what: `the platform's network ${own} overlaps with the route ${network} of ${device}`,
        next: `ip route show dev ${device}`,
      })),
  );
}

// A killed platform leaves processes behind that hold its ports. Those sockets are its own.
function ownSockets(processes: number[]): Set<string> {
  const found = new Set<string>();
  for (const id of processes) {
    try {
      for (const name of readdirSync(`/proc/${id}/fd`)) {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${id}/fd/${name}`))?.[1];
        if (inode) found.add(inode);
      }
    } catch {
      // The process has ended meanwhile.
    }
  }
  return found;
}

const existingAbove = (directory: string): string =>
  existsSync(directory) ? directory : existingAbove(dirname(directory));

function freeGiB(directory: string): number {
  const { bavail, bsize } = statfsSync(existingAbove(directory));
  return Math.floor((bavail * bsize) / 1024 ** 3);
}

/** Reports too little free disk space. */
export function diskCollisions(free: number, built: boolean): Collision[] {
  const needed = built ? neededGiB.run : neededGiB.build;
  if (free >= needed) return [];
  const what = `${free} GiB are free below ${cacheDirectory}, and ${needed} are needed${built ? "" : " for a build from scratch"}`;
  const others = `free ${needed - free} GiB, or CACHE_DIR=DIRECTORY ./deploy.sh`;
  return [{ what, next: `du -xhd1 ${quoted(existingAbove(cacheDirectory))} | sort -h (${others})` }];
}

/** Memory in GiB for a build from scratch next to a running platform, and for a platform whose tools are built. */
export const neededMemoryGiB = { build: 6, run: 4 };

/** Reports too little available memory. @param meminfo the text of /proc/meminfo */
export function memoryCollisions(meminfo: string, built: boolean): Collision[] {
  const [, kibibytes] = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo) ?? [];
  if (!kibibytes) return [];
  const available = Number(kibibytes) / 1024 ** 2;
  const needed = built ? neededMemoryGiB.run : neededMemoryGiB.build;
  if (available >= needed) return [];
  const what = `${available.toFixed(1)} GiB of memory are available, and ${needed} are needed${built ? "" : " for a build from scratch"}`;
  return [{ what, next: "ps -eo rss,pid,args --sort=-rss | head" }];
}

/** A process of the machine: its id, its program's name, and its network namespace, such as `net:[4026531840]`. */
export interface Running {
  id: number;
  program: string;
  network: string;
}

// Programs of other Kubernetes distributions, by the names that the kernel shows: at most 15 characters.
const kubernetesPrograms = [
  ...["kubelet", "kube-apiserver", "kube-proxy", "kube-controller", "kube-scheduler"],
  ...[
    "k3s",
    "k3s-server",
    "k3s-agent",
    "k0s",
    "rke2",
    "kubelite",
    "crc",
    "cilium-agent",
    "flanneld",
    "calico-node",
  ],
];

/**
 * Reports another Kubernetes in the machine's own network namespace. Its proxy and ours would write to the same iptables, and
 * its pod network and ours to the same routes. One in a network namespace of its own, such as kind, does not disturb us.
 */
export function kubernetesCollisions(processes: Running[], network: string): Collision[] {
  return processes
    .filter((one) => one.network === network && kubernetesPrograms.includes(one.program))
    .slice(0, 1)
    .map(({ id, program }) => ({
      what: `another Kubernetes, which --context would use, runs on this machine: ${program}, process ${id}`,
      next: `ps -o pid,user,lstart,args -p ${id}`,
    }));
}

function runningProcesses(own: number[]): Running[] {
  const ids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  return ids.flatMap((id) => {
    try {
      if (own.includes(id)) return [];
      const program = readFileSync(`/proc/${id}/comm`, "utf8").trim();
      return [{ id, program, network: readlinkSync(`/proc/${id}/ns/net`) }];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

const read = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");

/** All collisions at present; none while the platform runs. */
export function findCollisions(httpPort: number): Collision[] {
  const ownProcesses = platformProcesses();
  const own = ownSockets(ownProcesses);
  const built = modules.every(({ name }) => isBuilt(name));
  const listeners = ["/proc/net/tcp", "/proc/net/tcp6"]
    .flatMap((path) => parseListeners(read(path)))
    .filter(({ inode }) => !own.has(inode));
  return [
    ...portCollisions(listeners, httpPort),
    ...routeCollisions(parseRoutes(read("/proc/net/route"))),
    ...kubernetesCollisions(runningProcesses(ownProcesses), readlinkSync("/proc/self/ns/net")),
    ...diskCollisions(freeGiB(cacheDirectory), built),
    // A running platform has already taken its memory.
    ...(own.size > 0 ? [] : memoryCollisions(read("/proc/meminfo"), built)),
  ];
}

/**
 * Refuses a machine on which the platform would collide with something.
 * @throws Failure that names all collisions
 */
export function requireNoCollisions(httpPort: number): void {
  requireOwn(stateDirectory, "STATE_DIR");
  requireOwn(cacheDirectory, "CACHE_DIR");
  const found = findCollisions(httpPort);
  const [first] = found;
  if (first) throw new Failure(found.map(({ what }) => what).join("; "), first.next);
}
