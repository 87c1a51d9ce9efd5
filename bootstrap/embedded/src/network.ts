/** The nodes' network: a bridge on the host, a namespace and a veth pair for each node, and routes to their pods. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { until } from "../../../lib/failure.ts";
import { run, succeeds } from "../../../lib/process.ts";
import { bridge, type Node, nodes, podCIDR, project, state } from "./layout.ts";
import { ensureOwnDirectories } from "./ownership.ts";

/** Name of a node's network namespace, as `ip netns` lists it. */
export const namespaceName = (node: Node): string => `lp-${node.name}`;

const forwarding = "/proc/sys/net/ipv4/ip_forward";
const ip = (args: string): Promise<string> => run("ip", args.split(" "));
const has = (args: string): Promise<boolean> => succeeds("ip", args.split(" "));

const comment = ["-m", "comment", "--comment", project];
const answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];
const others = ["-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED"];
const notOurs = ["!", "-i", bridge.name];

/**
 * iptables rules on the host. Packets that leave the machine get its address. The kernel now forwards packets, so the rules
 * keep other machines, which could route the platform's networks here, from nodes, pods and programs on the bridge. Packets
 * from the nodes are accepted, because Docker, if installed, drops all forwarded packets but its own.
 */
export const hostRules: string[][] = [
  ...[podCIDR, bridge.cidr].map((source) => [
    ...["-t", "nat", "POSTROUTING", "-s", source, "!", "-o", bridge.name],
    ...[...comment, "-j", "MASQUERADE"],
  ]),
  ["-t", "filter", "FORWARD", "-i", bridge.name, ...comment, "-j", "ACCEPT"],
  ["-t", "filter", "FORWARD", ...notOurs, "-o", bridge.name, ...answers, ...comment, "-j", "ACCEPT"],
  ["-t", "filter", "FORWARD", ...notOurs, "-o", bridge.name, ...others, ...comment, "-j", "DROP"],
  [
    ...["-t", "filter", "INPUT", ...notOurs, "-d", `${bridge.address}/32`],
    // The machine's own packets have a local source address and pass.
    ...["-m", "addrtype", "!", "--src-type", "LOCAL", ...comment, "-j", "DROP"],
  ],
];

/** Turns a rule of `hostRules` into iptables arguments: `-C` checks, `-I` inserts it at the top, `-D` deletes it. */
export const ruleArguments = (verb: "-C" | "-D" | "-I", rule: string[]): string[] => [
  "-w",
  ...rule.slice(0, 2),
  verb,
  ...rule.slice(2),
];

async function ensureBridge(): Promise<void> {
  if (!(await has(`link show ${bridge.name}`))) await ip(`link add ${bridge.name} type bridge`);
  await ip(`address replace ${bridge.address}/${bridge.prefix} dev ${bridge.name}`);
  await ip(`link set ${bridge.name} up`);
  const before = readFileSync(forwarding, "utf8").trim();
  if (before !== "1") {
    mkdirSync(state(), { recursive: true });
    if (!existsSync(state("ip_forward.before"))) writeFileSync(state("ip_forward.before"), before);
    writeFileSync(forwarding, "1");
  }
  for (const rule of hostRules) {
    if (!(await succeeds("iptables", ruleArguments("-C", rule))))
      await run("iptables", ruleArguments("-I", rule));
  }
}

async function ensureNode(node: Node): Promise<void> {
  const namespace = namespaceName(node);
  const [outside, inside] = [`lp-${node.name}`, "eth0"];
  if (!(await has(`netns exec ${namespace} true`))) {
    if (existsSync(`/run/netns/${namespace}`)) await ip(`netns delete ${namespace}`);
    await ip(`netns add ${namespace}`);
  }
  if (!(await has(`-n ${namespace} link show ${inside}`))) {
    if (await has(`link show ${outside}`)) await ip(`link delete ${outside}`);
    await ip(`link add ${outside} type veth peer name ${inside} netns ${namespace}`);
  }
  await ip(`link set ${outside} master ${bridge.name} up`);
  await ip(`-n ${namespace} link set lo up`);
  await ip(`-n ${namespace} address replace ${node.address}/${bridge.prefix} dev ${inside}`);
  await ip(`-n ${namespace} link set ${inside} up`);
  await ip(`-n ${namespace} route replace default via ${bridge.address}`);
  for (const other of nodes) {
    if (other.name !== node.name)
      await ip(`-n ${namespace} route replace ${other.podCIDR} via ${other.address}`);
  }
  await run("nsenter", [
    `--net=/run/netns/${namespace}`,
    "sh",
    "-c",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
  ]);
  await ip(`route replace ${node.podCIDR} via ${node.address}`);
}

/** Creates the bridge, namespaces, links and routes, or those of them that are missing. */
export async function ensureNetwork(): Promise<void> {
  ensureOwnDirectories();
  await ensureBridge();
  for (const node of nodes) await ensureNode(node);
}

/** Removes everything that `ensureNetwork` creates, and restores the machine's forwarding setting. */
export async function removeNetwork(): Promise<void> {
  for (const node of nodes) {
    if (existsSync(`/run/netns/${namespaceName(node)}`)) await ip(`netns delete ${namespaceName(node)}`);
  }
  for (const link of [...nodes.map((node) => `lp-${node.name}`), bridge.name]) {
    // The kernel removes a veth a moment after its namespace, perhaps between the check and the deletion.
    await until(`link ${link}`, 30, async () => {
      await has(`link delete ${link}`);
      return (await has(`link show ${link}`)) ? "is still there" : undefined;
    });
  }
  for (const rule of hostRules) {
    while (await succeeds("iptables", ruleArguments("-C", rule)))
      await run("iptables", ruleArguments("-D", rule));
  }
  if (existsSync(state("ip_forward.before"))) {
    writeFileSync(forwarding, readFileSync(state("ip_forward.before"), "utf8"));
    rmSync(state("ip_forward.before"));
  }
}
