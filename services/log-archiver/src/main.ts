import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { execa } from "execa";
import { archive } from "./archive.ts";
import { sourcesOf } from "./endpoints.ts";
import { exitCode, Failure, reasonOf } from "./failure.ts";
import { Feeder } from "./feed.ts";
import { importArchives } from "./import.ts";
import { withLock } from "./lock.ts";
import type { Manifest } from "./manifest.ts";
import { moment } from "./moment.ts";
import { refill } from "./refill.ts";
import { directoryShelf, type Restored, remoteShelf, restore, type Shelf, unreadableIn } from "./restore.ts";
import { SearchStore } from "./search-store.ts";
import { serve, serveFigures } from "./serve.ts";
import { StoreWatch } from "./store-watch.ts";

const whole = (text: string): number => {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("must be a whole number.");
  return Number(text);
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
const api = (): Option =>
  setting("--api <url>", "API server", "KUBERNETES_API", "https://kubernetes.default.svc");
const tokenFile = (): Option =>
  setting(
    "--token-file <file>",
    "bearer token for the API server",
    "TOKEN_FILE",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
  );
const podHost = (): Option =>
  setting(
    "--pod-host <template>",
    "DNS name of a pod; placeholders {ip}, {dashed}, {service}, {namespace}",
    "POD_HOST",
    "{dashed}.{service}.{namespace}.svc.cluster.local",
  );
const stores = (): Option =>
  setting(
    "--stores <namespace/service>",
    "headless Service of the nodes' stores",
    "STORES",
    "log-agent/log-store",
  );
const search = (flags: string): Option =>
  setting(flags, "the search store", "SEARCH_URL", "http://victoria-logs.search.svc.cluster.local:9428");

const program = new Command("log-archiver")
  .description("Archives every line of the logging API's pods, and restores them.")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : exitCode.usage));

program
  .command("archive")
  .description("make one archive; exits with 3 if it was stored but a source was missed")
  .addOption(api())
  .addOption(tokenFile())
  .addOption(podHost())
  .addOption(
    setting("--app <namespace/service>", "headless Service of the API", "APP", "logging/app-headless"),
  )
  .addOption(stores())
  .addOption(
    setting("--logs <directory>", "the directory to pack; it is emptied first", "LOGS_DIR", "/app/logs"),
  )
  .addOption(temporary())
  .addOption(archives())
  .addOption(setting("--remote <remote>", "rclone remote for a further copy", "ARCHIVE_REMOTE", ""))
  // If a pod's name was asked for before the pod was ready, CoreDNS' cache denies it for 30 s.
  .addOption(
    count("--patience <seconds>", "how long to retry a source that is ready", "PATIENCE_SECONDS", 45),
  )
  .addOption(count("--lock <seconds>", "how long to wait for another run", "LOCK_SECONDS", 240))
  .addOption(count("--keep-days <days>", "keep all lines that are younger than this", "KEEP_DAYS", 30))
  .addOption(count("--largest <MiB>", "how much to read for one archive", "ARCHIVE_MIB", 1024))
  // The Job's deadline is 540 s; an archive of the largest size takes about a minute.
  .addOption(count("--enough <seconds>", "start no further archive after this time", "ENOUGH_SECONDS", 360))
  .action(async (options) => {
    const manifests = await archive({
      ...options,
      cluster: { api: options.api, tokenFile: options.tokenFile, podHost: options.podHost },
      app: serviceName(options.app),
      stores: serviceName(options.stores),
      patienceMs: options.patience * 1000,
      lockSeconds: options.lock,
      largest: options.largest * 1024 * 1024,
      enoughMs: options.enough * 1000,
      say: (line) => console.log(line),
    });
    for (const { archive, sources } of manifests) {
      const missed = sources.filter((source) => source.missed).map(({ kind, name }) => `${kind} ${name}`);
      if (missed.length === 0) continue;
      console.error(`${archive} was stored without ${missed.join(", ")}`);
      process.exitCode = exitCode.incomplete;
    }
  });

program
  .command("restore")
  .description("verify archives and print their lines, each once, merged by time")
  .option("--from <archive>", "which archive: all, latest, or a name or path", "all")
  .addOption(
    new Option("--from-dir <directory>", "read this directory instead of the platform's").conflicts(
      "fromRemote",
    ),
  )
  .option("--from-remote <remote>", "read this rclone remote, such as s3:bucket/path")
  .option("--since <time>", "only lines since a time, or since an age such as 2h", moment)
  .option("--grep <pattern>", "only lines that match a regular expression", pattern)
  .option("--list", "list the archives instead of their lines")
  .option("--verify", "only verify the archives, and print no lines")
  .option("--skip-damaged", "leave out damaged archives; exits with 3 if there are any")
  .addOption(
    new Option("--into <where>", "send lines to the search store instead, those of the nodes' stores as well")
      .choices(["search"])
      .conflicts(["fromDir", "fromRemote", "grep", "list", "verify"]),
  )
  .addOption(search("--search <url>"))
  .addOption(
    count("--keep-days <days>", "send no line to the search store that is older than this", "KEEP_DAYS", 30),
  )
  .addOption(api())
  .addOption(tokenFile())
  .addOption(podHost())
  .addOption(stores())
  .addOption(temporary())
  .addOption(archives())
  .action(
    async ({
      from,
      fromDir,
      fromRemote,
      since,
      grep,
      list,
      verify,
      skipDamaged = false,
      temporary,
      archives,
      into,
      ...places
    }) => {
      const scratch = await mkdtemp(join(temporary, "shelf-"));
      try {
        const shelf = await (fromRemote === undefined
          ? fromDir === undefined
            ? directoryShelf(from.includes("/") ? dirname(from) : archives, "npm run restore -- --list")
            : directoryShelf(fromDir)
          : remoteShelf(fromRemote, scratch));
        if (list) return printList(shelf);
        if (into !== undefined) return await fillAgain(shelf, temporary, { since, skipDamaged, ...places });
        const none = verify ? /(?!)/ : grep;
        const print = (line: string): Promise<void> | undefined =>
          process.stdout.write(`${line}\n`, "latin1") ? undefined : once(process.stdout, "drain").then();
        const restored = await restore(shelf, temporary, { from, since, grep: none, skipDamaged }, print);
        report(restored, verify);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
  );

program
  .command("import")
  .description("verify archives and store them beside the existing ones")
  .option("--from-dir <directory>", "the directory with the archives and their manifests")
  .option("--from-remote <remote>", "an rclone remote, such as s3:bucket/path")
  .option("--from-stdin", "read them as a tar stream from standard input")
  .addOption(temporary())
  .addOption(archives())
  .addOption(count("--lock <seconds>", "how long to wait for a run", "LOCK_SECONDS", 240))
  .action(async ({ fromDir, fromRemote, fromStdin, temporary, archives, lock }) => {
    if ([fromDir, fromRemote, fromStdin].filter(Boolean).length !== 1)
      throw new Failure("import takes one of --from-dir, --from-remote and --from-stdin", {
        next: "npm run import -- --help",
      });
    const scratch = await mkdtemp(join(temporary, "import-"));
    try {
      if (fromStdin) await execa("tar", ["-xf", "-", "-C", scratch], { stdin: "inherit" });
      const shelf = fromRemote
        ? await remoteShelf(fromRemote, scratch)
        : await directoryShelf(fromDir ?? scratch);
      const imported = await withLock(archives, lock, () =>
        importArchives(shelf, archives, (line) => console.log(line)),
      );
      console.log(`${imported.stored} archives stored, ${imported.present} were there already`);
      for (const reason of imported.refused) console.error(`left out: ${reason}`);
      if (imported.refused.length > 0) process.exitCode = exitCode.incomplete;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });

interface FillOptions {
  since: Date | undefined;
  skipDamaged: boolean;
  search: string;
  keepDays: number;
  stores: string;
  api: string;
  tokenFile: string;
  podHost: string;
}

async function fillAgain(shelf: Shelf, temporary: string, options: FillOptions): Promise<void> {
  const { namespace, service } = serviceName(options.stores);
  const oldest = new Date(Date.now() - options.keepDays * 86_400_000);
  const { added, archives, leftOut } = await refill({
    shelf,
    temporary,
    sources: () => sourcesOf(options, namespace, service),
    search: new SearchStore(options.search),
    since: options.since ?? oldest,
    skipDamaged: options.skipDamaged,
    say: (line) => console.log(line),
  });
  console.log(`${archives} archives and the nodes' stores: ${added} lines were missing, and are found now`);
  for (const reason of leftOut) console.error(`left out: ${reason}`);
  if (leftOut.length > 0) process.exitCode = exitCode.incomplete;
}

function report({ lines, repeats, read, damaged }: Restored, verifiedOnly: boolean): void {
  const names = (manifests: Manifest[]): string =>
    manifests.length > 3
      ? `${manifests.length} archives`
      : manifests.map(({ archive }) => archive).join(", ");
  const dropped = repeats > 0 ? `, ${repeats} repeats on other pods left out` : "";
  console.error(`${names(read)}: verified${verifiedOnly ? "" : `, ${lines} lines printed${dropped}`}`);
  const incomplete = read.filter(({ complete }) => !complete);
  if (incomplete.length > 0) console.error(`sources were missed by ${names(incomplete)}`);
  for (const reason of damaged) console.error(`left out: ${reason}`);
  if (damaged.length > 0) process.exitCode = exitCode.incomplete;
}

program
  .command("serve")
  .description("serve metrics about the archives and the nodes' stores at GET /metrics")
  .addOption(count("--port <port>", "port to listen on", "PORT", 9090))
  .addOption(archives())
  .addOption(api())
  .addOption(tokenFile())
  .addOption(podHost())
  .addOption(stores())
  .addOption(
    count("--store-mib <MiB>", "how much a node's store holds before it drops lines", "STORE_MIB", 1024),
  )
  .action(async ({ archives, port, api, tokenFile, podHost, stores, storeMib }) => {
    const { namespace, service } = serviceName(stores);
    const cluster = { api, tokenFile, podHost };
    const watch = new StoreWatch(() => sourcesOf(cluster, namespace, service), storeMib * 1024 * 1024);
    watch.start((reason) => console.error(`log-archiver: ${reason}`));
    const server = await serve(archives, port, watch);
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => server.close());
  });

program
  .command("feed")
  .description("send new lines of the nodes' stores to the search store until it is stopped")
  .addOption(count("--port <port>", "port of GET /metrics", "PORT", 9090))
  .addOption(search("--into <url>"))
  .addOption(
    setting("--state <directory>", "where to remember how far each store was read", "STATE_DIR", "/state"),
  )
  .addOption(count("--interval <ms>", "how often to look at the stores", "INTERVAL_MS", 500))
  .addOption(api())
  .addOption(tokenFile())
  .addOption(podHost())
  .addOption(stores())
  .action(async ({ port, into, state, interval, api, tokenFile, podHost, stores }) => {
    const { namespace, service } = serviceName(stores);
    const cluster = { api, tokenFile, podHost };
    const feeder = new Feeder(
      () => sourcesOf(cluster, namespace, service),
      new SearchStore(into),
      state,
      (reason) => console.error(`log-archiver: ${reason}`),
    );
    const server = await serveFigures(port, feeder);
    const stop = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop.abort());
    while (!stop.signal.aborted)
      if (await feeder.round())
        await sleep(interval, undefined, { signal: stop.signal }).catch(() => undefined);
    server.close();
    server.closeAllConnections();
  });

function printList(shelf: Shelf): void {
  const { manifests, unreadable } = shelf;
  for (const name of unreadable) console.error(unreadableIn(shelf, name));
  if (unreadable.length > 0) process.exitCode = exitCode.incomplete;
  for (const { archive, lines, pods, bytes, complete } of manifests) {
    const state = complete ? "complete" : "incomplete";
    console.log([archive, `${lines} lines`, `${pods.length} pods`, `${bytes} bytes`, state].join("\t"));
  }
}

function serviceName(text: string): { namespace: string; service: string } {
  const [namespace, service, ...rest] = text.split("/");
  if (!namespace || !service || rest.length > 0)
    throw new Failure(`${JSON.stringify(text)} is not a Service: write namespace/service`);
  return { namespace, service };
}

// It is not a failure when a reader such as head(1) has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  console.error(`log-archiver: ${reasonOf(error)}`);
  if (error instanceof Failure && error.next !== undefined) console.error(`next: ${error.next}`);
  process.exitCode = exitCode.failed;
}
