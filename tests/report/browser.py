"""Drives a headless Chromium over its debugging pipe: no package, no driver, no port."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')


def find():
    """Returns the browser's program, or None."""
    return os.environ.get('JREID_BROWSER') or next(
        (path for name in NAMES if (path := shutil.which(name))), None
    )


class Page:
    """One page, with the messages of its console and the addresses of its requests."""

    def __init__(self, program, profile):
        to_read, self.to_write = os.pipe()
        self.from_read, from_write = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        words = [
            program,
            '--headless=new',
            '--no-sandbox',
            '--disable-gpu',
            '--disable-dev-shm-usage',
            '--remote-debugging-pipe',
            '--no-first-run',
        ]
        words += [
            '--disable-extensions',
            '--disable-background-networking',
            '--window-size=1200,900',
            f'--user-data-dir={profile}',
            'about:blank',
        ]
        script = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
        quiet = {
            'stdout': subprocess.DEVNULL,
            'stderr': subprocess.DEVNULL,
            'stdin': subprocess.DEVNULL,
        }
        self.process = subprocess.Popen(
            ['bash', '-c', script, *words], pass_fds=(to_read, from_write), **quiet
        )
        os.close(to_read)
        os.close(from_write)
        self.number, self.buffer, self.console, self.requests, self.session = 0, b'', [], [], None
        target = next(
            t for t in self.call('Target.getTargets')['targetInfos'] if t['type'] == 'page'
        )
        self.session = self.call(
            'Target.attachToTarget', targetId=target['targetId'], flatten=True
        )['sessionId']
        for domain in ('Runtime', 'Log', 'Network', 'Page'):
            self.call(f'{domain}.enable')

    def call(self, method, **parameters):
        """Returns the result of a command."""
        self.number += 1
        message = {
            'id': self.number,
            'method': method,
            'params': parameters,
            **({'sessionId': self.session} if self.session else {}),
        }
        os.write(self.to_write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self.number:
                assert 'error' not in answer, answer['error']
                return answer['result']

    def _read(self, limit=60):
        end = time.monotonic() + limit
        while b'\0' not in self.buffer:
            ready, _, _ = select.select([self.from_read], [], [], max(end - time.monotonic(), 0))
            assert ready, f'the browser sent nothing for {limit} s'
            received = os.read(self.from_read, 1 << 16)
            assert received, 'the browser ended'
            self.buffer += received
        text, _, self.buffer = self.buffer.partition(b'\0')
        message = json.loads(text)
        parameters = message.get('params', {})
        if message.get('method') == 'Runtime.exceptionThrown':
            self.console.append(
                parameters['exceptionDetails']
                .get('exception', {})
                .get('description', str(parameters))
            )
        elif message.get('method') == 'Runtime.consoleAPICalled':
            self.console.append(str(parameters['args']))
        elif message.get('method') == 'Log.entryAdded' and parameters['entry']['level'] in (
            'error',
            'warning',
        ):
            self.console.append(parameters['entry']['text'])
        elif message.get('method') == 'Network.requestWillBeSent':
            self.requests.append(parameters['request']['url'][:100])
        return message

    def open(self, url, *, ready=True):
        """Loads a page and waits until its script has run, where it is one of ours (`ready`)."""
        self.call('Page.navigate', url=url)
        if not ready:
            return
        end = time.monotonic() + 60
        while self.run('document.documentElement?.dataset.ready') != 'true':
            assert time.monotonic() < end, f'the page did not get ready; console: {self.console}'
            time.sleep(0.1)

    def resize(self, width, height):
        """Shows the page in a window of this size, as a phone has it where it is narrow."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def run(self, script):
        """Returns the value of an expression."""
        answer = self.call(
            'Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def press(self, key, code):
        """Presses a key, as on a keyboard."""
        for kind in ('keyDown', 'keyUp'):
            text = (
                {'text': '\r'}
                if key == 'Enter' and kind == 'keyDown'
                else {'text': ' '}
                if key == ' ' and kind == 'keyDown'
                else {}
            )
            self.call(
                'Input.dispatchKeyEvent', type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def close(self):
        """Ends the browser."""
        with contextlib.suppress(AssertionError, OSError):
            self.session = None
            self.call('Browser.close')
        self.process.terminate()
        self.process.wait(20)
        os.close(self.to_write)
        os.close(self.from_read)
