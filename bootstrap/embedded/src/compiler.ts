/** How a process that compiles is started. */
import { join } from "node:path";
import { repository } from "./layout.ts";

/** Node's arguments for it, with the loader that this process has; `args` as compile.ts takes them. */
export const compiler = (...args: string[]): string[] => [
  ...process.execArgv,
  join(repository, "bootstrap/embedded/src/compile.ts"),
  ...args,
];
