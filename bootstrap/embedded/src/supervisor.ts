/** Runs each component under supervisord, which restarts it with growing delays and rotates its log by size. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { Failure, until } from "../../../lib/failure.ts";
import { run, succeeds, tailCommand } from "../../../lib/process.ts";
import { createCgroup, entrances, killAll } from "./cgroups.ts";
import { nodes, state } from "./layout.ts";

export interface Program {
  name: string;
  command: string[];
  /** The program is restarted if one of these files changes. */
  inputs: string[];
  /** Seconds between SIGTERM and SIGKILL. */
  stopSeconds?: number;
}

const configuration = (): string => state("supervisor", "supervisord.conf");
const socket = (): string => state("supervisor", "supervisord.sock");
const pidFile = (): string => state("supervisor", "supervisord.pid");

/** A digest of the files' content. A large file counts by its size and time, which change when a tool is replaced. */
function digest(files: string[]): string {
  const hash = createHash("sha256");
  for (const file of files) {
    const about = statSync(file);
    hash
      .update(`${file}\0`)
      .update(about.size > 1_000_000 ? `${about.size}:${about.mtimeMs}` : readFileSync(file));
  }
  return hash.digest("hex").slice(0, 16);
}

/** Quotes an argument for supervisord. Its parser starts a comment at a space and a semicolon, even inside quotes. */
function quote(argument: string): string {
  if (/\s[;#]|\n/.test(argument)) throw new Failure(`supervisord would cut the argument ${argument}`);
  const plain = /^[\w@%+=:,./!-]+$/.test(argument);
  return (plain ? argument : `'${argument.replaceAll("'", `'"'"'`)}'`).replaceAll("%", "%%");
}

/** Text of supervisord's configuration. */
export function supervisorConfig(
  programs: Program[],
  inputsDigest: (files: string[]) => string = digest,
): string {
  const sections = programs.map((program) => {
    return `[program:${program.name}]
command=${program.command.map(quote).join(" ")}
environment=INPUTS="${inputsDigest(program.inputs)}"
autostart=true
autorestart=true
startsecs=3
startretries=1000000
stopwaitsecs=${program.stopSeconds ?? 15}
stopasgroup=false
redirect_stderr=true
stdout_logfile=${state("log", `${program.name}.log`)}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
`;
  });
  return `[supervisord]
logfile=${state("log", "supervisord.log")}
logfile_maxbytes=5MB
logfile_backups=1
pidfile=${pidFile()}
directory=${state()}
umask=022

[unix_http_server]
file=${socket()}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://${socket()}

${sections.join("\n")}`;
}

const control = (args: string[], accept: number[] = []): Promise<string> =>
  run("supervisorctl", ["-c", configuration(), ...args], { accept });

/** Stops or starts one program, until it is told otherwise. */
export const controlProgram = (verb: "stop" | "start", name: string): Promise<string> =>
  control([verb, name]);

/** True if the supervisor answers. */
export const supervisorRuns = (): Promise<boolean> =>
  succeeds("supervisorctl", ["-c", configuration(), "pid"]);

const present = (): string => (existsSync(configuration()) ? readFileSync(configuration(), "utf8") : "");

/** The sections of a configuration's text for programs other than the named ones. */
export const otherSections = (text: string, names: string[]): string[] =>
  text
    .split(/^(?=\[program:)/m)
    .slice(1)
    .filter((section) => !names.some((name) => section.startsWith(`[program:${name}]`)));

/** Does the same as `supervise`, but leaves other programs running. */
export async function superviseAlso(programs: Program[]): Promise<void> {
  const names = programs.map(({ name }) => name);
  const others = (await supervisorRuns()) ? otherSections(present(), names) : [];
  await bringTo([supervisorConfig(programs), ...others].join("\n"));
}

/**
 * Makes the running programs match the given list: starts the supervisor if needed, and restarts changed programs.
 * @throws Failure if the supervisor does not answer within 20 s
 */
export async function supervise(programs: Program[]): Promise<void> {
  await bringTo(supervisorConfig(programs));
}

async function bringTo(text: string): Promise<void> {
  mkdirSync(state("supervisor"), { recursive: true });
  mkdirSync(state("log"), { recursive: true });
  if (present() !== text) writeFileSync(configuration(), text);
  if (await supervisorRuns()) {
    await control(["update"]);
    // A process that stopped a program for a while may have been killed before it could start it again.
    for (const [name, state] of Object.entries(await programStates()))
      if (state === "STOPPED") await controlProgram("start", name);
    return;
  }
  // Without the supervisor a component is an orphan that still holds its ports. The kubelet restarts the containers.
  for (const group of ["system", ...nodes.map((node) => node.name)]) await killAll(group);
  createCgroup("system");
  const enterCgroup = entrances("system")
    .map((file) => `echo $$ > ${file}`)
    .join("; ");
  await run("setsid", [
    "sh",
    "-c",
    `${enterCgroup}; ulimit -n "$(ulimit -Hn)"; exec supervisord -c ${configuration()}`,
  ]);
  await until(
    "supervisord",
    20,
    async () => ((await supervisorRuns()) ? undefined : "does not answer"),
    tailCommand(state("log", "supervisord.log")),
  );
}

/** State of every supervised program, such as RUNNING or BACKOFF, by name. */
export async function programStates(): Promise<Record<string, string>> {
  const lines = (await control(["status"], [3])).split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => line.split(/\s+/)).map(([name, state]) => [name ?? "", state ?? ""]),
  );
}

/**
 * Waits until every program runs.
 * @throws Failure naming the program, its state and its log
 */
export async function waitForPrograms(names: string[], seconds = 60): Promise<void> {
  let failing = "";
  try {
    await until("supervised programs", seconds, async () => {
      const states = await programStates();
      failing = names.find((name) => states[name] !== "RUNNING") ?? "";
      return failing ? `${failing} is ${states[failing] ?? "unknown"}` : undefined;
    });
  } catch (error) {
    throw new Failure(
      error instanceof Error ? error.message : String(error),
      tailCommand(state("log", `${failing || "supervisord"}.log`)),
    );
  }
}
