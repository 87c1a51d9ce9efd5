/** What takes minutes to be seen is begun before the first test, where all files run. */
import { endCrashes, startCrashes } from "./crashes.ts";
import { someFiles } from "./selection.ts";

/** Starts it; what is returned ends it, whatever happened in between. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Otherwise the tests that want it begin it.
  if (someFiles(process.argv.slice(2)) || process.argv.includes("slow")) return undefined;
  await startCrashes();
  return () => endCrashes().catch(() => undefined);
}
