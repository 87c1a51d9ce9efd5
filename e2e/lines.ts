/** Many lines with ids of their own: sent, then looked for in what agents print and archives hold. */
import { execa } from "execa";
import { namespace, type Pod, send as request } from "./app.ts";
import { kubectl, list } from "./kubectl.ts";
import { repository } from "./platform.ts";

/** A line as an agent prints it. */
export interface PrintedLine {
  time: string;
  node: string;
  namespace: string;
  pod: string;
  uid: string;
  request_id: string;
  message: string;
  file: string;
  offset: number;
  /** The node whose agent printed it, and when. */
  agentsNode: string;
  printed: string;
}

/** What became of many messages. */
export interface Sent {
  acknowledged: Set<string>;
}

/** Sends `count` messages `<id> <number>`, each until it is acknowledged, eight at a time. */
export function send(id: string, count: number): Sent & { done: Promise<Sent> } {
  const sent: Sent = { acknowledged: new Set() };
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      const message = `${id} ${next++}`;
      // What an attempt without an answer wrote on another pod begins with the same key: one line of the archive.
      const headers = { "idempotency-key": message.replace(" ", "-") };
      for (;;) {
        const answer = await request("/log", JSON.stringify({ message }), headers).catch(() => undefined);
        if (answer?.status === 200) break;
        await new Promise((done) => setTimeout(done, 50));
      }
      sent.acknowledged.add(message);
    }
  };
  return { ...sent, done: Promise.all(Array.from({ length: 8 }, work)).then(() => sent) };
}

/** What is wrong with a list of messages that should hold each acknowledged one exactly once. */
export function notOnce(messages: string[], { acknowledged }: Sent): string[] {
  const times = new Map<string, number>();
  for (const message of messages) times.set(message, (times.get(message) ?? 0) + 1);
  const wrong = [...new Set([...times.keys(), ...acknowledged])].filter(
    (message) => !acknowledged.has(message) || times.get(message) !== 1,
  );
  return wrong.map((message) => `${message}: ${times.get(message) ?? 0} times`);
}

/** The agents' pods that are ready. */
export async function agents(): Promise<Pod[]> {
  const found = await list<Pod>(
    ...["pods", "--namespace", "log-agent", "--selector", "app.kubernetes.io/name=log-agent"],
  );
  return found.filter(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined &&
      status.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
  );
}

/** The lines with an id that all agents have printed, also before their container's last restart. */
export async function linesOfAgents(id: string): Promise<PrintedLine[]> {
  const found: PrintedLine[] = [];
  for (const { metadata, spec } of await agents()) {
    for (const flags of [[], ["--previous"]]) {
      const args = [
        "--namespace",
        "log-agent",
        "logs",
        metadata.name,
        "--container",
        "log-agent",
        "--timestamps",
      ];
      const { stdout } = await execa("kubectl", [...args, ...flags], { reject: false, maxBuffer: 1e9 });
      for (const text of stdout.split("\n")) {
        const json = text.slice(text.indexOf(" ") + 1);
        if (!json.includes(id) || !json.startsWith('{"file"')) continue;
        const printed = text.slice(0, text.indexOf(" "));
        found.push({ ...(JSON.parse(json) as PrintedLine), agentsNode: spec.nodeName, printed });
      }
    }
  }
  return found;
}

/** From the line's time, which is just before its acknowledgement, to its being printed, in milliseconds. */
export function lagOf(lines: PrintedLine[]): { p50: number; p99: number } {
  const lags = lines.map(({ time, printed }) => Date.parse(printed) - Date.parse(time)).sort((a, b) => a - b);
  const at = (share: number): number => lags[Math.floor((lags.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Runs the archiver now, as a person would. */
export async function archiveNow(): Promise<{
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
}> {
  const options = { cwd: repository, reject: false } as const;
  const { exitCode, stdout, stderr } = await execa(
    "npm",
    ["run", "--silent", "archive", "--", "--now"],
    options,
  );
  return { exitCode, stdout, stderr };
}

/** The messages with an id in all archives together, as a restore prints them. */
export async function restored(id: string): Promise<string[]> {
  const args = ["run", "--silent", "restore", "--", "--from", "all", "--grep", id];
  const { stdout } = await execa("npm", args, { cwd: repository, maxBuffer: 1e9 });
  return stdout === "" ? [] : stdout.split("\n").map((line) => line.replace(/^\S+ \S+ /, ""));
}

/** The pod that keeps the archives at hand. */
export async function keeper(): Promise<string> {
  const selector = "app.kubernetes.io/name=log-archiver,app.kubernetes.io/component=keeper";
  const name = await kubectl(
    ["--namespace", namespace, "get", "pods", "--selector", selector].concat([
      "-o",
      "jsonpath={.items[0].metadata.name}",
    ]),
  );
  return name;
}
