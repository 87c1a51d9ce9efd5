// Loaded into the service's process ahead of it: what a slow or broken disk does, where a test asks for it.
import { existsSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const directory = process.env.SYNC_GATE;

if (directory !== undefined) {
  const handle = await open("/dev/null");
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const { datasync } = prototype;
  prototype.datasync = async function (this: unknown) {
    if (existsSync(join(directory, "fail")))
      throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
    while (existsSync(join(directory, "hold"))) {
      writeFileSync(join(directory, "holding"), "");
      await sleep(5);
    }
    return datasync.call(this);
  };
}
