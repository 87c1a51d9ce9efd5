import { once } from "node:events";
import { Command, InvalidArgumentError, Option } from "commander";
import { archive } from "./archive.ts";
import { exitCode, Failure, reasonOf } from "./failure.ts";
import { find, restore } from "./restore.ts";
import { serve } from "./serve.ts";
import { manifestsIn } from "./storage.ts";

const whole = (text: string): number => {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("must be a whole number.");
  return Number(text);
};

const moment = (text: string): Date => {
  const [, amount, unit = ""] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[unit];
  const time = amount && seconds ? new Date(Date.now() - Number(amount) * seconds * 1000) : new Date(text);
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError("must be a time such as 2026-01-31T12:00:00Z, or an age such as 2h.");
  return time;
};

const pattern = (text: string): RegExp => {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(reasonOf(error));
  }
};

const setting = (flags: string, description: string, env: string, value: string): Option =>
  new Option(flags, description).env(env).default(value);
const count = (flags: string, description: string, env: string, value: number): Option =>
  new Option(flags, description).env(env).default(value).argParser(whole);
const archives = (): Option =>
  setting("--archives <directory>", "where archives are kept", "ARCHIVES_DIR", "/archive");
const temporary = (): Option =>
  setting("--temporary <directory>", "room to work in", "TEMPORARY_DIR", "/tmp");

const program = new Command("log-archiver")
  .description("Archives every line of the logging API's pods, and restores them.")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : exitCode.usage));

program
  .command("archive")
  .description("make one archive; exits with 3 if it was stored but a source was missed")
  .addOption(setting("--api <url>", "API server", "KUBERNETES_API", "https://kubernetes.default.svc"))
  .addOption(
    setting(
      "--token-file <file>",
      "bearer token for the API server",
      "TOKEN_FILE",
      "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ),
  )
  .addOption(
    setting(
      "--pod-host <template>",
      "name of one pod, of {ip} {dashed} {service} {namespace}",
      "POD_HOST",
      "{dashed}.{service}.{namespace}.svc.cluster.local",
    ),
  )
  .addOption(
    setting("--app <namespace/service>", "headless Service of the API", "APP", "logging/app-headless"),
  )
  .addOption(
    setting(
      "--stores <namespace/service>",
      "headless Service of the nodes' stores",
      "STORES",
      "log-agent/log-store",
    ),
  )
  .addOption(
    setting("--logs <directory>", "directory that is packed; it is emptied first", "LOGS_DIR", "/app/logs"),
  )
  .addOption(temporary())
  .addOption(archives())
  .addOption(setting("--remote <remote>", "rclone remote for a further copy", "ARCHIVE_REMOTE", ""))
  // CoreDNS' cache denies for 30 s the name of a pod that was asked for before the pod was ready.
  .addOption(
    count("--patience <seconds>", "how long a source that serves is tried again", "PATIENCE_SECONDS", 45),
  )
  .addOption(count("--keep-last <n>", "newest archives to keep", "KEEP_LAST", 12))
  .addOption(count("--keep-daily <n>", "days of which one is kept", "KEEP_DAILY", 7))
  .addOption(count("--keep-weekly <n>", "weeks of which one is kept", "KEEP_WEEKLY", 4))
  .action(async (options) => {
    const { patience, keepLast: last, keepDaily: daily, keepWeekly: weekly } = options;
    const manifest = await archive({
      ...options,
      cluster: { api: options.api, tokenFile: options.tokenFile, podHost: options.podHost },
      app: serviceName(options.app),
      stores: serviceName(options.stores),
      retention: { last, daily, weekly },
      patienceMs: patience * 1000,
      say: (line) => console.log(line),
    });
    if (manifest.complete) return;
    const missed = manifest.sources
      .filter((source) => source.missed)
      .map(({ kind, name }) => `${kind} ${name}`);
    console.error(`${manifest.archive} was stored without ${missed.join(", ")}`);
    process.exitCode = exitCode.incomplete;
  });

program
  .command("restore")
  .description("verify archives and print their lines, merged by time")
  .option("--from <archive>", "latest, all, an archive's name or path", "latest")
  .option("--since <time>", "only lines from then on: a time, or an age such as 2h", moment)
  .option("--grep <pattern>", "only lines that match a regular expression", pattern)
  .option("--list", "list the archives instead")
  .option("--verify", "verify only, print no lines")
  .addOption(temporary())
  .addOption(archives())
  .action(async ({ from, since, grep, list, verify, temporary, archives }) => {
    if (list) return printList(archives);
    const none = verify ? /(?!)/ : grep;
    const print = async (line: string): Promise<void> => {
      if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain");
    };
    const lines = await restore(archives, temporary, { from, since, grep: none }, print);
    const found = await find(archives, from);
    const names = found.map(({ manifest }) => manifest.archive).join(", ");
    const incomplete = found
      .filter(({ manifest }) => !manifest.complete)
      .map(({ manifest }) => manifest.archive);
    console.error(`${names}: verified${verify ? "" : `, ${lines} lines printed`}`);
    if (incomplete.length > 0) console.error(`sources were missed by ${incomplete.join(", ")}`);
  });

program
  .command("serve")
  .description("answer GET /metrics with the figures of the archives")
  .addOption(count("--port <port>", "port to listen on", "PORT", 9090))
  .addOption(archives())
  .action(async ({ archives, port }) => {
    const server = await serve(archives, port);
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => server.close());
  });

async function printList(archives: string): Promise<void> {
  for (const { archive, lines, pods, bytes, complete } of await manifestsIn(archives, (name) =>
    console.error(`${name} is unreadable`),
  )) {
    const state = complete ? "complete" : "incomplete";
    console.log([archive, `${lines} lines`, `${pods.length} pods`, `${bytes} bytes`, state].join("\t"));
  }
}

function serviceName(text: string): { namespace: string; service: string } {
  const [namespace, service, ...rest] = text.split("/");
  if (!namespace || !service || rest.length > 0)
    throw new Failure(`${JSON.stringify(text)} is no Service: write namespace/service`);
  return { namespace, service };
}

// A reader such as head(1) that has seen enough is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  console.error(`log-archiver: ${reasonOf(error)}`);
  if (error instanceof Failure && error.next !== undefined) console.error(`next: ${error.next}`);
  process.exitCode = exitCode.failed;
}
