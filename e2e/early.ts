/** What takes minutes to be seen is begun before the first test, where all files run. */
import { readdirSync } from "node:fs";
import { endCrashes, startCrashes } from "./crashes.ts";

/** True where the command line names files: then what is slow is begun by those that want it. */
const someFiles = (): boolean => {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.ts"));
  return process.argv.slice(2).some((argument) => files.some((file) => `e2e/${file}`.includes(argument)));
};

/** Starts it; what is returned ends it, whatever happened in between. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (someFiles()) return undefined;
  await startCrashes();
  return () => endCrashes().catch(() => undefined);
}
