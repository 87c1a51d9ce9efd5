/** `npm run logs`: finds lines, and shows them as they come. */
import { Command, InvalidArgumentError, Option } from "commander";
import { exitCode } from "../src/failure.ts";
import { moment } from "../src/moment.ts";
import { openDoor } from "./door.ts";
import { run } from "./run.ts";
import { ask, follow, type Row, textOf } from "./search.ts";

/** Nothing was found. As with grep this is no failure, but a caller can tell it from success. */
const nothingFound = 4;

const howMany = (text: string): number => {
  if (!/^\d{1,7}$/.test(text) || Number(text) < 1 || Number(text) > 1_000_000)
    throw new InvalidArgumentError("must be a whole number from 1 to 1000000.");
  return Number(text);
};

const program = new Command("logs")
  .description("find the lines of all pods, also of those that are gone; each line once, in order of time")
  .usage("[options] [QUERY...]")
  .argument("[QUERY...]", "words that a line contains, or LogsQL such as 'request_id:=\"4711\"'", ["*"])
  .option("-f, --follow", "show new lines until you stop it; starts now unless --since is given")
  .addOption(
    new Option("--since <time>", "start at a time, or at an age such as 30m (default: 1h)").argParser(moment),
  )
  .addOption(
    new Option("--until <time>", "end at a time, or at an age").argParser(moment).conflicts("follow"),
  )
  .option("--pod <name>", "only lines of this pod")
  .addOption(
    new Option("--limit <number>", "show at most this many lines, the newest")
      .default(1000)
      .argParser(howMany),
  )
  .option("--json", "print lines with all their fields, as JSON")
  .addHelpText(
    "after",
    `
Examples:
  npm run logs -- --since 2h 'timeout'
  npm run logs -- --pod app-6d5f9 'request_id:="4711"'
  npm run logs -- --follow error
  npm run logs -- --since 1d '* | stats by (pod) count() lines'

It asks the address in LOGS_URL, which ./deploy.sh env sets. Without it, it uses kubectl.
Exit codes: 0 found, 1 failed, ${nothingFound} nothing found, ${exitCode.usage} wrong usage.`,
  )
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : exitCode.usage));

// It is not a failure when a reader such as head(1) has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

program.action(async (words: string[], options) => {
  const query = words.join(" ");
  const { json = false, pod, limit, until } = options;
  const door = await openDoor();
  const print = (rows: Row[]): void => {
    for (const row of rows) process.stdout.write(`${textOf(row, json)}\n`);
  };
  try {
    if (options.follow) {
      const stop = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
      const from = options.since ?? new Date();
      for await (const rows of follow(door.url, { query, pod, from }, stop.signal, console.error))
        print(rows);
      return;
    }
    const from = options.since ?? new Date(Date.now() - 3_600_000);
    const { rows, cut } = await ask(door.url, { query, pod, from, to: until, limit });
    print(rows);
    if (cut)
      console.error(
        `more lines match than these, which are the newest: use --limit, --since and --until to see others`,
      );
    if (rows.length > 0) return;
    console.error(`no line since ${from.toISOString()} matches ${JSON.stringify(query)}`);
    process.exitCode = nothingFound;
  } finally {
    door.close();
  }
});

await run(program);
