/** Says how a process that compiles is started. */
import { join } from "node:path";
import { repository } from "./layout.ts";

/** Node's arguments for such a process, with this process's loader. `args` are the arguments of compile.ts. */
export const compiler = (...args: string[]): string[] => [
  ...process.execArgv,
  join(repository, "bootstrap/embedded/src/compile.ts"),
  ...args,
];
