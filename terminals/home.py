from energyshare.home import *  # noqa
