// Preloaded: the process is killed when it would remove a journal that it has taken over.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const unlink = fs.promises.unlink;
fs.promises.unlink = async (path) => {
  if (String(path).includes(".claimed-")) process.kill(process.pid, "SIGKILL");
  return unlink(path);
};
syncBuiltinESMExports();
