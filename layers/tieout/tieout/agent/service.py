"""How to keep the agent running: what each operating system wants to be told, ready to be used."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

NAME = "Tieout agent"
SYSTEMS = {"Windows": "windows", "Linux": "linux", "Darwin": "macos"}
_SYSTEMD = """\
[Unit]
Description=Tieout agent: works for Tieout beside the system on this computer
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command}
User={user}
Restart=always
RestartSec=10
# It ends its job and reports it, which takes up to a minute.
TimeoutStopSec=90
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=full

[Install]
WantedBy=multi-user.target
"""
_LAUNCHD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>tieout-agent</string>
  <key>ProgramArguments</key>
  <array>
{arguments}
  </array>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><true/>
  <key>ExitTimeOut</key><integer>90</integer>
</dict>
</plist>
"""
# Source: learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema, read 2026-11-22. S-1-5-18 is the system.
_TASK = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Works for Tieout beside the system on this computer</Description></RegistrationInfo>
  <Triggers><BootTrigger><Enabled>true</Enabled></BootTrigger></Triggers>
  <Principals>
    <Principal id="Author"><UserId>S-1-5-18</UserId><RunLevel>LeastPrivilege</RunLevel></Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec><Command>{program}</Command><Arguments>{arguments}</Arguments></Exec>
  </Actions>
</Task>
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A file, and what to do with it.

    Attributes:
        file: Its name.
        encoding: Of the file.
        steps: Each a sentence, or a command after two blanks.
    """

    file: str
    content: str
    encoding: str
    steps: Sequence[str]


def service(system: str, *, program: Sequence[str], folder: Path, user: str, where: Path) -> Service:
    """What makes the agent a service.

    Args:
        system: `windows`, `linux` or `macos`.
        program: What runs `tieout`.
        folder: The agent's.
        user: Whom it runs as; on Windows it is the system itself.
        where: The folder that the file is written to.
    """
    command = [*program, "agent", "run", "--data", str(folder)]
    match system:
        case "windows":
            return _windows(command, where)
        case "macos":
            return _macos(command, where)
    return _linux(command, user, where)


def _linux(command: Sequence[str], user: str, where: Path) -> Service:
    file = "tieout-agent.service"
    # systemd reads % and $ in a command, and quotation marks around what has blanks.
    quoted = " ".join(
        '"' + part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'
        for part in command
    )
    return Service(
        file,
        _SYSTEMD.format(command=quoted, user=user),
        "utf-8",
        (
            "As root:",
            f"  cp '{where / file}' /etc/systemd/system/",
            "  systemctl daemon-reload",
            "  systemctl enable --now tieout-agent",
            "It then starts with the computer. What it says: `journalctl -u tieout-agent`.",
        ),
    )


def _macos(command: Sequence[str], where: Path) -> Service:
    file = "tieout-agent.plist"
    arguments = "\n".join(f"    <string>{escape(part)}</string>" for part in command)
    return Service(
        file,
        _LAUNCHD.format(arguments=arguments),
        "utf-8",
        (
            "In a terminal:",
            f"  cp '{where / file}' ~/Library/LaunchAgents/",
            f"  launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{file}",
            "It then runs while you are signed in, and starts when you sign in.",
        ),
    )


def _windows(command: Sequence[str], where: Path) -> Service:
    file = "tieout-agent.xml"
    program, *rest = command
    arguments = subprocess.list2cmdline(rest)
    return Service(
        file,
        _TASK.format(program=escape(program), arguments=escape(arguments)),
        "utf-16",
        (
            "In a command prompt that was opened with Run as administrator:",
            f'  schtasks /create /tn "{NAME}" /xml "{where / file}"',
            f'  schtasks /run /tn "{NAME}"',
            "It then starts with the computer, whoever is signed in, and does not show a window.",
            f'To stop it: schtasks /end /tn "{NAME}"; to remove it: schtasks /delete /tn "{NAME}".',
            "Or with NSSM (nssm.cc), which ends a running job in order when it stops the service:",
            f'  nssm install TieoutAgent "{program}" {arguments}',
            "  nssm set TieoutAgent AppStopMethodConsole 90000",
            "  nssm start TieoutAgent",
        ),
    )
